"""What a folder's files tell without being decoded: how large and how old they are, and the images' headers.

On a network disk each answer takes a millisecond, so pieces of the work are values that may be done anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rlq_ray.data.attributes import MaskFiles
from rlq_ray.data.layouts.source import SourceImage
from rlq_ray.errors import DataError

IMAGES_PER_JOB = 1000


class Apply(Protocol):
    """Calls a function on every item, here or on a cluster, and returns the results in the items' order."""

    def __call__(self, title: str, function: Callable[[Any], Any], items: Sequence[Any], /) -> list[Any]:
        """`title` says to people what is being done."""


def apply_here(_title: str, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Do everything in this process, one after the other."""
    return list(map(function, items))


@dataclass(frozen=True)
class SurveyJob:
    """Each image's file, and its masks after it; `reads_headers` asks for the images' heights and widths, too."""

    files: tuple[tuple[str, ...], ...]
    reads_headers: bool


@dataclass(frozen=True)
class Survey:
    """Of N images: `num_bytes` (N,) with their masks; `stamp` (N,) differs when any of these files was changed.

    `size_N2` is (height, width), or zeros if headers were not asked for.
    """

    num_bytes: NDArray[np.int64]
    stamp: NDArray[np.uint64]
    size_N2: NDArray[np.int64]


def survey_images(
    images: Sequence[SourceImage], masks: Sequence[MaskFiles | None], *, reads_headers: bool, apply: Apply
) -> Survey:
    """Look at all files of some images.

    Raises:
        DataError: a file that is missing or no image.
    """
    jobs = [
        SurveyJob(
            tuple(
                (str(image.file), *mask_paths(mask))
                for image, mask in zip(
                    images[start : start + IMAGES_PER_JOB], masks[start : start + IMAGES_PER_JOB], strict=True
                )
            ),
            reads_headers,
        )
        for start in range(0, len(images), IMAGES_PER_JOB)
    ]
    parts = apply(f"looking at {len(images):,} images", survey, jobs)
    return Survey(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def mask_paths(masks: MaskFiles | None) -> tuple[str, ...]:
    """List the mask files that an image has."""
    return tuple(str(file) for file in (masks.shirt, masks.trousers, masks.clothes) if file) if masks else ()


def survey(job: SurveyJob) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64]]:
    """Do a job: the columns of a `Survey`.

    Raises:
        DataError: a file that is missing or no image.
    """
    num_bytes, stamp = [], []
    for files in job.files:
        found = [_stat(file) for file in files]
        num_bytes.append(sum(size for size, _ in found))
        stamp.append(int.from_bytes(hashlib.blake2b(repr(found).encode(), digest_size=8).digest(), "little"))
    sizes = [_header_size(image) if job.reads_headers else (0, 0) for image, *_ in job.files]
    return np.array(num_bytes, np.int64), np.array(stamp, np.uint64), np.array(sizes, np.int64).reshape(-1, 2)


def _stat(file: str) -> tuple[int, int]:
    try:
        status = Path(file).stat()
    except OSError as error:
        raise DataError(f"cannot read {file} ({error.strerror}): check that it exists and is readable") from error
    return status.st_size, status.st_mtime_ns


def _header_size(file: str) -> tuple[int, int]:
    try:
        with Image.open(file) as image:
            return image.height, image.width
    except (OSError, SyntaxError) as error:
        raise DataError(f"cannot decode {file} ({error}): replace or remove the file") from error
