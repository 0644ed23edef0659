"""Every image file once: is it readable, how large is it, what is its hash. Pieces of work that pickle.

A piece is a run of files of a folder or one shard of a data set; its images are decoded one after the other, so it
needs the memory of one image, or of one encoded shard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import UnidentifiedImageError

from rlq_ray.data.attributes import MaskFiles
from rlq_ray.data.check.hashing import WINDOWS, WORDS, perceptual_hash
from rlq_ray.data.decode import decode_rgb
from rlq_ray.data.layouts.source import SourceImage
from rlq_ray.data.manifest import ShardEntry
from rlq_ray.data.records import MASK_COLUMNS, table_to_records
from rlq_ray.errors import DataError
from rlq_ray.storage import Location, exists, read_bytes

KINDS = ("jpeg", "png", "other")
_STARTS = {b"\xff\xd8": "jpeg", b"\x89P": "png"}
_FILES_PER_JOB = 256


@dataclass(frozen=True)
class Faults:
    """What is wrong with files, named with the reason: images, masks, shards."""

    images: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    shards: tuple[str, ...] = ()

    def __add__(self, others: Faults) -> Faults:
        return Faults(self.images + others.images, self.masks + others.masks, self.shards + others.shards)


@dataclass(frozen=True)
class Inspected:
    """Columns over N images: what their bytes show.

    `kind` counts in `KINDS`, −1 where there are no bytes; `height`, `width` are in pixels, 0 where the image is not
    readable. Only `comparable` images have `hashes` `(N, 2, 4)`: the others are unreadable or nearly of one colour.
    """

    sha256: NDArray[np.bytes_]
    kind: NDArray[np.int8]
    height: NDArray[np.int32]
    width: NDArray[np.int32]
    comparable: NDArray[np.bool_]
    hashes: NDArray[np.uint64]
    num_masks: int
    faults: Faults

    def __len__(self) -> int:
        return len(self.height)


@dataclass(frozen=True)
class FilesJob:
    """Files of a folder to inspect, with their masks."""

    files: tuple[tuple[Path, str, tuple[Path, ...]], ...]
    """The file, its name for people, its masks."""


@dataclass(frozen=True)
class ShardJob:
    """A shard to inspect, and what the manifest says of it."""

    data_set: Location
    entry: ShardEntry


@dataclass(frozen=True)
class _Image:
    name: str
    encoded: bytes
    masks: tuple[tuple[str, bytes], ...]


def files_jobs(images: Sequence[SourceImage], masks: Sequence[MaskFiles | None]) -> Iterator[FilesJob]:
    """Cut a folder into pieces, in its order."""
    rows = [(image.file.absolute(), image.source, _files_of(mask)) for image, mask in zip(images, masks, strict=True)]
    for start in range(0, len(rows), _FILES_PER_JOB):
        yield FilesJob(tuple(rows[start : start + _FILES_PER_JOB]))


def _files_of(masks: MaskFiles | None) -> tuple[Path, ...]:
    files = (masks.shirt, masks.trousers, masks.clothes) if masks else ()
    return tuple(file.absolute() for file in files if file is not None)


def inspect(job: FilesJob | ShardJob) -> Inspected:
    """Read and decode the images of one piece; what is wrong is a fault.

    Raises:
        StorageError: the store cannot be read.
    """
    return _inspect_shard(job) if isinstance(job, ShardJob) else _inspect_files(job)


def _inspect_files(job: FilesJob) -> Inspected:
    inspector = _Inspector(len(job.files))
    for row, (file, name, masks) in enumerate(job.files):
        try:
            encoded = file.read_bytes()
        except OSError as error:
            inspector.broken_images.append(f"{name} ({error.strerror})")
            continue
        inspector.add(row, _Image(name, encoded, tuple(_read_masks(masks, inspector.broken_masks))))
    return inspector.result()


def _read_masks(files: Iterable[Path], broken: list[str]) -> Iterator[tuple[str, bytes]]:
    for file in files:
        try:
            yield file.name, file.read_bytes()
        except OSError as error:
            broken.append(f"{file.name} ({error.strerror})")


def _inspect_shard(job: ShardJob) -> Inspected:
    inspector = _Inspector(job.entry.rows)
    place = job.data_set / job.entry.path
    if not exists(place):
        return inspector.result(Faults(shards=(f"{job.entry.path} is gone",)))
    content = read_bytes(place)
    same = hashlib.sha256(content).hexdigest() == job.entry.sha256
    faults = Faults() if same else Faults(shards=(f"{job.entry.path} is not what the manifest says: it was changed",))
    try:
        for row, image in enumerate(_stored_images(content)):
            inspector.add(row, image)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        if same:
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return _Inspector(job.entry.rows).result(Faults(shards=(f"{job.entry.path} was changed ({reason})",)))
    return inspector.result(faults)


def _stored_images(content: bytes) -> Iterator[_Image]:
    file = pq.ParquetFile(pa.BufferReader(content))
    for row_group in range(file.num_row_groups):
        for record in table_to_records(file.read_row_group(row_group, use_threads=False)):
            masks = ((column.removesuffix("_mask"), getattr(record, column)) for column in MASK_COLUMNS)
            given = tuple((f"{record.source} {part}", mask) for part, mask in masks if mask is not None)
            yield _Image(record.source, record.image, given)


class _Inspector:
    """Fills the columns of one piece, row by row; rows that are never added count as unreadable."""

    def __init__(self, num_images: int) -> None:
        self.broken_images: list[str] = []
        self.broken_masks: list[str] = []
        self._sha256 = np.zeros(num_images, dtype="S32")
        self._kind = np.full(num_images, -1, dtype=np.int8)
        self._size = np.zeros((num_images, 2), dtype=np.int32)
        self._comparable = np.zeros(num_images, dtype=np.bool_)
        self._hashes = np.zeros((num_images, WINDOWS, WORDS), dtype=np.uint64)
        self._num_masks = 0

    def add(self, row: int, image: _Image) -> None:
        """Inspect an image and its masks."""
        self._sha256[row] = hashlib.sha256(image.encoded).digest()
        self._kind[row] = KINDS.index(_STARTS.get(image.encoded[:2], "other"))
        try:
            pixels = decode_rgb(image.encoded, image.name)
        except DataError as error:
            self.broken_images.append(f"{image.name} ({_reason(error)})")
            return
        self._size[row] = pixels.shape[:2]
        hashes = perceptual_hash(pixels)
        if hashes is not None:
            self._comparable[row], self._hashes[row] = True, hashes
        for name, encoded in image.masks:
            self._num_masks += 1
            fault = _fault_of_mask(encoded, pixels.shape[0], pixels.shape[1])
            if fault:
                self.broken_masks.append(f"{name} ({fault})")

    def result(self, faults: Faults | None = None) -> Inspected:
        """Give the columns, with further faults of the piece."""
        own = Faults(tuple(self.broken_images), tuple(self.broken_masks))
        return Inspected(
            sha256=self._sha256,
            kind=self._kind,
            height=self._size[:, 0],
            width=self._size[:, 1],
            comparable=self._comparable,
            hashes=self._hashes,
            num_masks=self._num_masks,
            faults=own + (faults or Faults()),
        )


def _fault_of_mask(encoded: bytes, height: int, width: int) -> str | None:
    try:
        mask = decode_rgb(encoded, "")
    except DataError as error:
        return _reason(error)
    if mask.shape[0] * width != mask.shape[1] * height:
        return f"{mask.shape[1]}×{mask.shape[0]} pixels, its image {width}×{height}"
    return None


def _reason(error: DataError) -> str:
    cause = error.__cause__
    if isinstance(cause, UnidentifiedImageError):  # whose text is the address of a buffer
        return "no image file"
    return (str(cause or error).splitlines() or ["unreadable"])[0]


def join(pieces: Sequence[Inspected]) -> Inspected:
    """Put the pieces of a data set together, in their order."""
    columns = ("sha256", "kind", "height", "width", "comparable", "hashes")
    return Inspected(
        **{name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in columns},
        num_masks=sum(piece.num_masks for piece in pieces),
        faults=sum((piece.faults for piece in pieces), Faults()),
    )
