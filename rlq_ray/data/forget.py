"""Take one person out of a data set, on their demand: images, labels, masks, keypoints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rlq_ray.data.ingestion import publish
from rlq_ray.data.jobs import WrittenShard
from rlq_ray.data.ledger import claim_target
from rlq_ray.data.manifest import Manifest
from rlq_ray.data.reader import DataSet, read_index
from rlq_ray.data.shards import write_row_groups
from rlq_ray.errors import DataError
from rlq_ray.storage import read_bytes


def forget_identity(uri: str, identity: str) -> Manifest:
    """Rewrite the shards that hold an identity, then the manifest, and delete the old ones.

    Pose centroids stay: they are means over many people. Until the manifest is replaced the data set is the old one.

    Raises:
        DataError: nobody of that name, or nobody else.
        StorageError: the data set cannot be written.
    """
    dataset = DataSet.open(uri)
    manifest, is_theirs = dataset.manifest, dataset.index.identity.equals(identity)
    if not is_theirs.any():
        raise DataError(
            f"{dataset.location} has no identity '{identity}': check the name, such as '{_example(dataset)}'"
        )
    if is_theirs.all():
        raise DataError(f"{dataset.location} has no other identity than '{identity}': delete the whole data set")
    affected = set(dataset.index.shard[is_theirs].tolist())
    index = read_index(dataset.location, manifest)
    shards = []
    for number, entry in enumerate(manifest.shards):
        if number not in affected:
            rows = index.filter(pc.equal(index["shard"], number)).drop_columns("shard")
            shards.append(WrittenShard(number, entry, rows))
            continue
        kept = list(_others(read_bytes(dataset.location / entry.path), identity))
        if kept:
            stem = str(PurePosixPath(entry.path).with_suffix("")).rpartition("-")[0]
            shards.append(WrittenShard(number, *write_row_groups(dataset.location, stem, kept)))
    return publish(
        claim_target(dataset.location),
        shards,
        name=manifest.name,
        layout=manifest.layout,
        licence_accepted=manifest.licence_accepted,
        pose=manifest.pose,
        join_rates=manifest.join_rates,
    )


def _others(shard: bytes, identity: str) -> Iterator[pa.Table]:
    """Give the row groups without an identity's rows, those that are left with any."""
    file = pq.ParquetFile(pa.BufferReader(shard))
    for number in range(file.num_row_groups):
        table = file.read_row_group(number)
        kept = table.filter(pc.not_equal(table["identity"], identity))
        if kept.num_rows:
            yield kept


def _example(dataset: DataSet) -> str:
    return str(dataset.index.identity[0])
