"""Take one person out of a data set, on their demand, and prove it: images, labels, masks, keypoints.

Killed at any moment and called again, it ends with the same data set and the same proof: a note beside the shards says
whose erasure is not proved yet. The note goes last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from rlq_ray.data.ingestion import publish
from rlq_ray.data.jobs import WrittenShard
from rlq_ray.data.ledger import LEDGER_FOLDER, claim_target, delete_files, stale_files
from rlq_ray.data.manifest import Erasure, Manifest, ShardEntry, read_manifest
from rlq_ray.data.reader import DataSet, read_index
from rlq_ray.data.shards import write_row_groups
from rlq_ray.errors import DataError, NotFoundError
from rlq_ray.storage import Location, delete_file, read_bytes, read_json, write_json

NUM_READERS = 4
"""Shards that are read back at the same time, each at most 128 MiB."""


@dataclass(frozen=True)
class Forgotten:
    """What was erased, and proved to be gone: from the data set `manifest`, of which `num_read` shards were read."""

    manifest: Manifest
    num_images: int
    num_rewritten: int
    num_read: int


class _Note(BaseModel):
    """What is to be gone: kept until that is proved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: str
    num_rewritten: int
    sources: tuple[str, ...]
    sha256: tuple[str, ...]
    others_sha256: str
    """Hash over everybody else's sources and images' hashes, in their order."""


def forget_identity(uri: str, identity: str) -> Forgotten:
    """Rewrite the shards that hold an identity, then the manifest, delete the old files, and read everything back.

    Pose centroids stay: they are means over many people. Until the manifest is replaced the data set is the old one.

    Raises:
        DataError: nobody of that name, nobody else, or the proof failed: something of theirs is left, such as an image
            that lies there under another identity, too, or somebody else's image was changed.
        StorageError: the data set cannot be read or written, or somebody else writes there.
    """
    dataset = DataSet.open(uri)
    is_theirs = dataset.index.identity.equals(identity)
    place = dataset.location / f"{LEDGER_FOLDER}/erasure-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.json"
    if is_theirs.any():
        if is_theirs.all():
            raise DataError(f"{dataset.location} has no other identity than '{identity}': delete the whole data set")
        manifest, note = _rewrite(dataset, identity, place)
    else:
        manifest, note = dataset.manifest, _read_note(dataset, identity, place)
        claim = claim_target(dataset.location)
        stale = _stale_but(dataset.location, manifest, place)
        claim.require()
        delete_files(dataset.location, stale)
    _prove(dataset.location, note)
    delete_file(place)
    delete_files(dataset.location, [])
    return Forgotten(manifest, len(note.sources), note.num_rewritten, len(manifest.shards))


def _rewrite(dataset: DataSet, identity: str, place: Location) -> tuple[Manifest, _Note]:
    location, manifest = dataset.location, dataset.manifest
    claim = claim_target(location)
    index = read_index(location, manifest)
    is_theirs = pc.equal(index["identity"], identity)
    theirs, others = index.filter(is_theirs), index.filter(pc.invert(is_theirs))
    affected = set(theirs["shard"].to_pylist())
    note = _Note(
        identity=identity,
        num_rewritten=len(affected),
        sources=tuple(theirs["source"].to_pylist()),
        sha256=tuple(theirs["sha256"].to_pylist()),
        others_sha256=_hash_images(zip(others["source"].to_pylist(), others["sha256"].to_pylist(), strict=True)),
    )
    write_json(place, note.model_dump(mode="json"))
    shards = []
    for number, entry in enumerate(manifest.shards):
        if number not in affected:
            rows = index.filter(pc.equal(index["shard"], number)).drop_columns("shard")
            shards.append(WrittenShard(number, entry, rows))
            continue
        kept = list(_others(read_bytes(location / entry.path), identity))
        if kept:
            stem = str(PurePosixPath(entry.path).with_suffix("")).rpartition("-")[0]
            shards.append(WrittenShard(number, *write_row_groups(location, stem, kept)))
            _compare(location / shards[-1].entry.path, kept)
    erased = Erasure(date=datetime.now(UTC).date().isoformat(), images=len(note.sources))
    published = publish(
        claim,
        shards,
        spare=(place,),
        name=manifest.name,
        layout=manifest.layout,
        licence_accepted=manifest.licence_accepted,
        pose=manifest.pose,
        join_rates=manifest.join_rates,
        erasures=(*manifest.erasures, erased),
    )
    return published, note


def _read_note(dataset: DataSet, identity: str, place: Location) -> _Note:
    """Read the note of an erasure whose manifest is in place, but which was killed before it was proved."""
    try:
        return _Note.model_validate(read_json(place))
    except NotFoundError as error:
        example = dataset.index.identity[0]
        raise DataError(
            f"{dataset.location} has no identity '{identity}': check the name, such as '{example}'"
        ) from error


def _stale_but(location: Location, manifest: Manifest, place: Location) -> list[Location]:
    return [file for file in stale_files(location, (*manifest.shards, manifest.index)) if file != place]


def _others(shard: bytes, identity: str) -> Iterator[pa.Table]:
    """Give the row groups without an identity's rows, those that are left with any."""
    file = pq.ParquetFile(pa.BufferReader(shard))
    for number in range(file.num_row_groups):
        table = file.read_row_group(number)
        kept = table.filter(pc.not_equal(table["identity"], identity))
        if kept.num_rows:
            yield kept


def _compare(place: Location, kept: Sequence[pa.Table]) -> None:
    """Read a rewritten shard back, before the old one is deleted: every column, the masks too, is to be as it was."""
    file = pq.ParquetFile(pa.BufferReader(read_bytes(place)), page_checksum_verification=True)
    is_same = file.num_row_groups == len(kept) and all(
        file.read_row_group(number).equals(table) for number, table in enumerate(kept)
    )
    if not is_same:
        raise DataError(f"{place} gives back other rows than were written: check the store, then call again")


def _prove(location: Location, note: _Note) -> None:
    """Read the data set back, all of it, and find nothing of the identity and everybody else as before.

    Raises:
        DataError: that is not so.
    """
    manifest = read_manifest(location)
    index = read_index(location, manifest)
    with ThreadPoolExecutor(NUM_READERS) as pool:
        seen = pool.map(lambda entry: _images_of(location, entry), manifest.shards)
        images = [image for shard in seen for image in shard]
    listed = zip(*(index[name].to_pylist() for name in ("identity", "source", "sha256")), strict=True)
    if images != list(listed) or _hash_images(image[1:] for image in images) != note.others_sha256:
        raise DataError(f"{location}: images of others than '{note.identity}' were changed; ingest the data set again")
    sources, hashes = set(note.sources), set(note.sha256)
    left = [image for image in images if image[0] == note.identity or image[1] in sources or image[2] in hashes]
    if left:
        identity, source, _ = left[0]
        raise DataError(
            f"{len(left)} images of '{note.identity}' lie in {location} under other identities, too, such as "
            f"'{source}' of '{identity}': forget these as well, or ingest again without them"
        )
    stale = _stale_but(location, manifest, location / LEDGER_FOLDER)
    if any(file.uri.endswith((".parquet", ".part")) for file in stale):
        raise DataError(f"{stale[0]} is left of an older data set: call again")


def _images_of(location: Location, entry: ShardEntry) -> list[tuple[str, str, str]]:
    """List identity, source and hash, computed from its bytes, of every image of a shard."""
    content = read_bytes(location / entry.path)
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise DataError(f"{location / entry.path} was changed: ingest the data set again")
    file = pq.ParquetFile(pa.BufferReader(content))
    images = []
    for number in range(file.num_row_groups):
        for row in file.read_row_group(number, columns=["identity", "source", "image"]).to_pylist():
            images.append((row["identity"], row["source"], hashlib.sha256(row["image"]["bytes"]).hexdigest()))
    return images


def _hash_images(images: Iterator[tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for source, sha256 in images:
        digest.update(f"{source}\0{sha256}\0".encode())
    return digest.hexdigest()
