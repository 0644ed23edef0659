"""What is to become a shard and what became of it, as values that travel between processes. Opens no file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from rlq_ray.data.manifest import FORMAT_VERSION, ShardEntry
from rlq_ray.storage import Location


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """An image's labels and the side files' answers for it, before its pixels were read.

    It is held of every image at once, so it holds plain values: 0.9 kB, without masks 0.5 kB, without keypoints
    0.3 kB. `keypoints` are 17 × (x, y, score) as float32; `masks` are the files of shirt, trousers and clothes.
    """

    file: str
    source: str
    split: str
    identity: str
    clothes: str
    camera: int
    gender: int | None
    pose: int
    keypoints: bytes | None
    masks: tuple[str | None, str | None, str | None] | None
    mask_faulty: bool


@dataclass(frozen=True)
class ShardJob:
    """What one shard is to hold, in order and in row groups of these sizes, and the data set it belongs to. Pickles.

    `fingerprint` differs when anything that goes into the shard does; `finished` is the shard if it was written before.
    """

    number: int
    to: Location
    rows: tuple[PlannedImage, ...]
    group_sizes: tuple[int, ...]
    fingerprint: str
    finished: ShardEntry | None = None


@dataclass(frozen=True)
class WrittenShard:
    """A finished shard: its place in the job list, its entry in the manifest, and its rows in the index.

    `rows` has the columns `METADATA_COLUMNS` and those of `RANGES_SCHEMA`.
    """

    number: int
    entry: ShardEntry
    rows: pa.Table


def fingerprint_job(rows: Sequence[PlannedImage], stamps: Sequence[int], group_sizes: Sequence[int]) -> str:
    """Hash what a shard is made of: labels, side files' values, the files' stamps, and the versions of the writers."""
    digest = hashlib.sha256(f"{FORMAT_VERSION} {pa.__version__} {list(group_sizes)}".encode())
    for row, stamp in zip(rows, stamps, strict=True):
        masks = tuple(mask is not None for mask in row.masks) if row.masks else None
        labels = (row.source, row.split, row.identity, row.clothes, row.camera, row.gender, row.pose)
        digest.update(repr((labels, row.keypoints, masks, row.mask_faulty, int(stamp))).encode())
    return digest.hexdigest()
