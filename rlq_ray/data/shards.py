"""One shard: images and side files in, one Parquet file out. A job is a value and a pure function of its files.

The same job writes the same bytes under the same name wherever it runs, so shards can be written side by side and
again. Knows nothing of layouts or manifests' fate.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rlq_ray.data.attributes import MaskFiles
from rlq_ray.data.decode import decode_rgb
from rlq_ray.data.layouts.source import SourceImage
from rlq_ray.data.manifest import ShardEntry
from rlq_ray.data.records import METADATA_COLUMNS, ROWS_PER_GROUP, SCHEMA, ImageRecord, records_to_table
from rlq_ray.errors import DataError
from rlq_ray.storage import Location, write_bytes

SHARD_FOLDER = "shards"

_ENCODED_LEAVES = ("image.bytes", "shirt_mask", "trousers_mask", "clothes_mask")
"""Columns that hold JPEG and PNG files: compressing them again or indexing their values only costs time."""


@dataclass(frozen=True)
class PlannedImage:
    """An image and the side files' answers for it, before its pixels were read."""

    image: SourceImage
    gender: int | None
    pose: int
    keypoints: tuple[float, ...] | None
    masks: MaskFiles | None


@dataclass(frozen=True)
class ShardJob:
    """What one shard is to hold, in order, and the data set it belongs to. Pickles."""

    number: int
    to: Location
    rows: tuple[PlannedImage, ...]


@dataclass(frozen=True)
class WrittenShard:
    """A finished shard: its place in the job list, its entry in the manifest, and its rows without the bytes."""

    number: int
    entry: ShardEntry
    metadata: pa.Table


def write_shard(job: ShardJob) -> WrittenShard:
    """Read, check and write the images of one shard.

    Raises:
        DataError: an image or mask that is missing, unreadable or truncated, with its name.
        StorageError: the target cannot be written.
    """
    table = records_to_table([_read_record(planned) for planned in job.rows])
    entry = write_table(job.to, f"{SHARD_FOLDER}/part-{job.number:05d}", table)
    return WrittenShard(job.number, entry, table.select(METADATA_COLUMNS))


def write_table(to: Location, stem: str, table: pa.Table, rows_per_group: int = ROWS_PER_GROUP) -> ShardEntry:
    """Write a table as `<stem>-<hash>.parquet` below `to`; equal content gets an equal name.

    Raises:
        StorageError: the target cannot be written.
    """
    leaves = [leaf for name in table.schema.names for leaf in _leaves(name)]
    small = [leaf for leaf in leaves if leaf not in _ENCODED_LEAVES]
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=rows_per_group,
        compression={leaf: "NONE" if leaf in _ENCODED_LEAVES else "ZSTD" for leaf in leaves},
        use_dictionary=small,
        write_statistics=small,
        write_page_checksum=True,
    )
    content = sink.getvalue().to_pybytes()
    digest = hashlib.sha256(content).hexdigest()
    path = f"{stem}-{digest[:16]}.parquet"
    write_bytes(to / path, content)
    return ShardEntry(
        path=path,
        rows=table.num_rows,
        row_groups=-(-table.num_rows // rows_per_group),
        size_bytes=len(content),
        sha256=digest,
    )


def _leaves(name: str) -> tuple[str, ...]:
    if name == "image":
        return ("image.bytes", "image.path")
    if pa.types.is_list(SCHEMA.field(name).type if name in SCHEMA.names else pa.null()):
        return (f"{name}.list.element",)
    return (name,)


def _read_record(planned: PlannedImage) -> ImageRecord:
    image, masks = planned.image, planned.masks
    encoded = _read_file(image.file)
    pixels = decode_rgb(encoded, str(image.file))
    return ImageRecord(
        image=encoded,
        identity=image.identity,
        clothes=image.clothes,
        camera=image.camera,
        split=image.split,
        gender=planned.gender,
        pose=planned.pose,
        keypoints=planned.keypoints,
        shirt_mask=_read_mask(masks.shirt if masks else None, pixels.shape),
        trousers_mask=_read_mask(masks.trousers if masks else None, pixels.shape),
        clothes_mask=_read_mask(masks.clothes if masks else None, pixels.shape),
        mask_faulty=masks.faulty if masks else False,
        height=pixels.shape[0],
        width=pixels.shape[1],
        source=image.source,
        sha256=hashlib.sha256(encoded).hexdigest(),
    )


def _read_mask(file: Path | None, shape: tuple[int, ...]) -> bytes | None:
    if file is None:
        return None
    encoded = _read_file(file)
    mask = decode_rgb(encoded, str(file))
    if mask.shape[0] * shape[1] != mask.shape[1] * shape[0]:
        raise DataError(
            f"{file} is {mask.shape[1]}×{mask.shape[0]} pixels, its image {shape[1]}×{shape[0]}: "
            "a mask needs the proportions of its image"
        )
    return encoded


def _read_file(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {file} ({error.strerror}): check that it exists and is readable") from error
