"""The Arrow schema of one image, and the image as a value.

Knows neither folders nor storage. The encoded JPEG or PNG is kept byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa

SPLITS = ("train", "val", "query", "gallery")
NUM_JOINTS = 17
MAX_GROUP_ROWS = 256
MAX_GROUP_BYTES = 4 * 2**20
"""Most images of a row group, and most bytes of them unless there is only one: a request costs about 0.4 ms of CPU time
here and a round trip there, so that 3 MB at a time (256 JPEG files of 384×192) are read at half the cost of 0.8 MB."""

MASK_COLUMNS = ("shirt_mask", "trousers_mask", "clothes_mask")

SCHEMA = pa.schema(
    [
        pa.field("image", pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())]), nullable=False),
        pa.field("identity", pa.string(), nullable=False),
        pa.field("clothes", pa.string(), nullable=False),
        pa.field("camera", pa.int32(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("gender", pa.int8()),
        pa.field("pose", pa.int16(), nullable=False),
        pa.field("keypoints", pa.list_(pa.float32())),
        pa.field("shirt_mask", pa.binary()),
        pa.field("trousers_mask", pa.binary()),
        pa.field("clothes_mask", pa.binary()),
        pa.field("mask_faulty", pa.bool_(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
    ]
)

METADATA_COLUMNS = tuple(name for name in SCHEMA.names if name not in ("image", "keypoints", *MASK_COLUMNS))
"""Columns that the index of a data set repeats: all that is small."""

FILE_COLUMNS = ("image", *MASK_COLUMNS)
"""Columns that hold encoded files, in the order in which a row group stores them."""

RANGES_SCHEMA = pa.schema(
    [
        pa.field("row_group", pa.int32(), nullable=False),
        *(
            pa.field(f"{column}_{what}", kind, nullable=False)
            for column in FILE_COLUMNS
            for what, kind in (("offset", pa.int64()), ("size", pa.int32()))
        ),
        pa.field("images_crc32", pa.uint32(), nullable=False),
        pa.field("masks_crc32", pa.uint32(), nullable=False),
        pa.field("plain_jpeg", pa.bool_(), nullable=False),
    ]
)
"""Where a row's files lie within its shard, in bytes; size 0 if there is no such file.

`images_crc32` is of the shard's bytes from the first image of the row's row group to the end of the last, `masks_crc32`
of those from there to the end of its last mask. `plain_jpeg` marks an image that every decoder takes alike, so that
its header need not be looked at again."""


@dataclass(frozen=True)
class ImageRecord:
    """One image with all that is known of it.

    `image` is a JPEG or PNG file. `gender` is 1 male, 0 female, None unknown. `pose` is a cluster from 1, or 0 for no
    pose. `keypoints` holds x, y, score of 17 COCO joints in the stored image's pixels. Masks are PNG files, non-zero
    where there is cloth. `source` is relative to the root that was read; `sha256` is of `image`.
    """

    image: bytes
    identity: str
    clothes: str
    camera: int
    split: str
    gender: int | None
    pose: int
    keypoints: tuple[float, ...] | None
    shirt_mask: bytes | None
    trousers_mask: bytes | None
    clothes_mask: bytes | None
    mask_faulty: bool
    height: int
    width: int
    source: str
    sha256: str


def records_to_table(records: Sequence[ImageRecord]) -> pa.Table:
    """Lay records out as a table of `SCHEMA`, in their order."""
    rows = [asdict(record) for record in records]
    for row in rows:
        row["image"] = {"bytes": row["image"], "path": row["source"]}
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def table_to_records(table: pa.Table) -> list[ImageRecord]:
    """Turn a table of `SCHEMA` back into records, in its order."""
    records = []
    for row in table.to_pylist():
        row["image"] = row["image"]["bytes"]
        row["keypoints"] = None if row["keypoints"] is None else tuple(row["keypoints"])
        records.append(ImageRecord(**row))
    return records
