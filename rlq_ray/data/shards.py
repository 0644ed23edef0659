"""One shard: images and side files in, one Parquet file out. A job is a value and a pure function of its files.

The same job writes the same bytes under the same name wherever it runs, so shards can be written side by side and
again. Only one row group is held in memory besides the finished file. Knows nothing of layouts or manifests' fate.
"""

from __future__ import annotations

import hashlib
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rlq_ray.data.decode import decode_rgb, is_plain_jpeg
from rlq_ray.data.jobs import PlannedImage, ShardJob, WrittenShard
from rlq_ray.data.ledger import LedgerEntry, record_shard
from rlq_ray.data.manifest import ShardEntry
from rlq_ray.data.records import (
    FILE_COLUMNS,
    METADATA_COLUMNS,
    RANGES_SCHEMA,
    SCHEMA,
    ImageRecord,
    records_to_table,
)
from rlq_ray.errors import DataError, NotFoundError
from rlq_ray.storage import Location, read_bytes, write_bytes

SHARD_FOLDER = "shards"

_LEAF_OF_FILE = {column: "image.bytes" if column == "image" else column for column in FILE_COLUMNS}
"""Parquet leaves that hold JPEG and PNG files: compressing them again or indexing their values only costs time, and
uncompressed plain pages hold each file in one piece, which is what readers fetch."""


def write_shard(job: ShardJob) -> WrittenShard:
    """Read, check and write the images of one shard, and note that it is whole; or take over one that is.

    Holds the finished shard, at most 128 MiB unless a single row group is larger, and one row group.

    Raises:
        DataError: an image or mask that is missing, unreadable or truncated, with its name.
        StorageError: the target cannot be written.
    """
    if job.finished is not None:
        rows = _take_over(job.to, job.finished)
        if rows is not None:
            return WrittenShard(job.number, job.finished, rows)
    entry, rows = write_row_groups(job.to, shard_stem(job.number), _row_groups(job))
    record_shard(job.to, job.number, LedgerEntry(fingerprint=job.fingerprint, shard=entry))
    return WrittenShard(job.number, entry, rows)


def _take_over(to: Location, entry: ShardEntry) -> pa.Table | None:
    """Read the index rows of a finished shard; None if it is not what was noted."""
    try:
        content = read_bytes(to / entry.path)
    except NotFoundError:
        return None
    return index_rows(content) if hashlib.sha256(content).hexdigest() == entry.sha256 else None


def shard_stem(number: int) -> str:
    """Name a shard but for the hash of its content."""
    return f"{SHARD_FOLDER}/part-{number:05d}"


def write_row_groups(to: Location, stem: str, row_groups: Iterable[pa.Table]) -> tuple[ShardEntry, pa.Table]:
    """Write tables of `SCHEMA` as the row groups of `<stem>-<hash>.parquet` below `to`; equal content, equal name.

    Returns its entry in the manifest and its rows in the index.

    Raises:
        StorageError: the target cannot be written.
    """
    leaves = [leaf for name in SCHEMA.names for leaf in _leaves(name)]
    small = [leaf for leaf in leaves if leaf not in _LEAF_OF_FILE.values()]
    with tempfile.TemporaryFile(prefix="rlq-shard-") as file:  # without a name, so that it ends with the process
        with pq.ParquetWriter(
            pa.PythonFile(file, mode="w"),
            SCHEMA,
            compression={leaf: "ZSTD" if leaf in small else "NONE" for leaf in leaves},
            use_dictionary=small,
            write_statistics=small,
            write_page_checksum=True,
        ) as writer:
            for table in row_groups:
                writer.write_table(table, row_group_size=table.num_rows)
        file.seek(0)
        content = file.read()
    rows = index_rows(content)
    return _put(to, stem, content, rows.num_rows, _num_row_groups(rows)), rows


def index_rows(shard: bytes) -> pa.Table:
    """Look up what the index says of a shard's rows: their metadata, and where their files lie within the shard."""
    tables = []
    parquet = pq.ParquetFile(pa.BufferReader(shard))
    for group in range(parquet.num_row_groups):
        table = parquet.read_row_group(group)
        ranges = _ranges(shard, table, parquet.metadata.row_group(group), group)
        columns = [*table.select(METADATA_COLUMNS).columns, *ranges.columns]
        tables.append(pa.table(columns, names=[*METADATA_COLUMNS, *RANGES_SCHEMA.names]))
    return pa.concat_tables(tables)


def write_table(to: Location, stem: str, table: pa.Table) -> ShardEntry:
    """Write a table without files, such as the index, as `<stem>-<hash>.parquet` below `to`.

    Raises:
        StorageError: the target cannot be written.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="ZSTD", write_page_checksum=True)
    return _put(to, stem, sink.getvalue().to_pybytes(), table.num_rows, num_row_groups=1)


def _put(to: Location, stem: str, content: bytes, num_rows: int, num_row_groups: int) -> ShardEntry:
    digest = hashlib.sha256(content).hexdigest()
    path = f"{stem}-{digest[:16]}.parquet"
    write_bytes(to / path, content)
    return ShardEntry(path=path, rows=num_rows, row_groups=num_row_groups, size_bytes=len(content), sha256=digest)


def _num_row_groups(rows: pa.Table) -> int:
    return int(rows["row_group"][-1].as_py()) + 1 if rows.num_rows else 0


def _ranges(content: bytes, table: pa.Table, metadata: pq.RowGroupMetaData, group: int) -> pa.Table:
    """Find every file of a row group in the shard's bytes; plain pages hold files in the order of their rows."""
    found: dict[str, list[Any]] = {name: [] for name in RANGES_SCHEMA.names}
    starts = {
        metadata.column(number).path_in_schema: metadata.column(number).data_page_offset
        for number in range(metadata.num_columns)
    }
    for column, leaf in _LEAF_OF_FILE.items():
        position = starts[leaf]
        values = table[column].combine_chunks()
        for value in (values.field("bytes") if column == "image" else values).to_pylist():
            if value:
                position = content.find(value, position)
            found[f"{column}_offset"].append(position)
            found[f"{column}_size"].append(len(value) if value else 0)
            if column == "image":
                found["plain_jpeg"].append(is_plain_jpeg(value))
            position += len(value) if value else 0
    start = found["image_offset"][0]
    images_end, *ends = (_end_of_files(found[f"{column}_offset"], found[f"{column}_size"]) for column in FILE_COLUMNS)
    masks_end = max(images_end, *ends)
    found["images_crc32"] = [zlib.crc32(content[start:images_end])] * table.num_rows
    found["masks_crc32"] = [zlib.crc32(content[images_end:masks_end])] * table.num_rows
    found["row_group"] = [group] * table.num_rows
    return pa.table(found, schema=RANGES_SCHEMA)


def _end_of_files(offsets: Sequence[int], sizes: Sequence[int]) -> int:
    return max((offset + size for offset, size in zip(offsets, sizes, strict=True) if size), default=0)


def _row_groups(job: ShardJob) -> Iterator[pa.Table]:
    rows = iter(job.rows)
    for size in job.group_sizes:
        yield records_to_table([_read_record(planned) for planned in islice(rows, size)])


def _leaves(name: str) -> tuple[str, ...]:
    if name == "image":
        return ("image.bytes", "image.path")
    if pa.types.is_list(SCHEMA.field(name).type if name in SCHEMA.names else pa.null()):
        return (f"{name}.list.element",)
    return (name,)


def _read_record(planned: PlannedImage) -> ImageRecord:
    encoded = _read_file(planned.file)
    pixels = decode_rgb(encoded, planned.file)
    shirt, trousers, clothes = planned.masks or (None, None, None)
    points = None if planned.keypoints is None else np.frombuffer(planned.keypoints, np.float32)
    return ImageRecord(
        image=encoded,
        identity=planned.identity,
        clothes=planned.clothes,
        camera=planned.camera,
        split=planned.split,
        gender=planned.gender,
        pose=planned.pose,
        keypoints=None if points is None else tuple(points.tolist()),
        shirt_mask=_read_mask(shirt, pixels.shape),
        trousers_mask=_read_mask(trousers, pixels.shape),
        clothes_mask=_read_mask(clothes, pixels.shape),
        mask_faulty=planned.mask_faulty,
        height=pixels.shape[0],
        width=pixels.shape[1],
        source=planned.source,
        sha256=hashlib.sha256(encoded).hexdigest(),
    )


def _read_mask(file: str | None, shape: tuple[int, ...]) -> bytes | None:
    if file is None:
        return None
    encoded = _read_file(file)
    mask = decode_rgb(encoded, file)
    if mask.shape[0] * shape[1] != mask.shape[1] * shape[0]:
        raise DataError(
            f"{file} is {mask.shape[1]}×{mask.shape[0]} pixels, its image {shape[1]}×{shape[0]}: "
            "a mask needs the proportions of its image"
        )
    return encoded


def _read_file(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {file} ({error.strerror}): check that it exists and is readable") from error
