"""A data set of photo-like JPEGs in S3, and the index of one that is much larger."""

from __future__ import annotations

import io
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from loading.photos import make_photos, repeat_photos

from rlq_ray.data import DataSet, ingest
from rlq_ray.data.index import Index, index_from_table
from rlq_ray.data.reader import read_index

PHOTOS, TIMES = 2400, 10


def write_data(folder: Path, uri: str) -> None:
    """Ingest photos, each under several identities."""
    make_photos(folder / "photos", PHOTOS)
    repeat_photos(folder / "photos", TIMES, folder / "all")
    ingest(folder / "all", "generic", uri, name="scale")


def large_index(dataset: DataSet, images: int) -> bytes:
    """Give the index file of a set of so many images: that of a small one again and again, under other names."""
    table = read_index(dataset.location, dataset.manifest)
    shards = int(pc.max(table["shard"]).as_py()) + 1
    copies = []
    for number in range(-(-images // len(table))):
        copy = table
        for column in ("identity", "clothes", "source"):
            named = pc.binary_join_element_wise(f"{number:04}", copy[column].cast(pa.string()), "-")
            copy = copy.set_column(copy.column_names.index(column), copy.schema.field(column).name, named)
        moved = pc.add(copy["shard"], pa.scalar(number * shards, copy["shard"].type))
        copies.append(copy.set_column(copy.column_names.index("shard"), "shard", moved))
    sink = io.BytesIO()
    pq.write_table(pa.concat_tables(copies).slice(0, images), sink, compression="zstd")
    return sink.getvalue()


def open_index(content: bytes) -> Index:
    """Take an index out of its file, as a data set does."""
    return index_from_table(pq.read_table(pa.BufferReader(content)))


def held_bytes(value: Any) -> int:
    """Add up what the columns of an index, or of a part of it, keep in memory."""
    if isinstance(value, dict):
        return sum(map(held_bytes, value.values()))
    if is_dataclass(value):
        return sum(map(held_bytes, vars(value).values()))
    return int(value.nbytes)  # NumPy and Arrow alike
