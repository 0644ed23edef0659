"""Spreads, histograms and counts of a data set's columns. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rlq_ray.data.check.catalogue import PARTS, Catalogue
from rlq_ray.data.check.inspection import KINDS, Inspected
from rlq_ray.data.check.report import Bin, ImagesReport, PartReport, Spread

MAX_BINS = 8
_GENDERS = {1: "male", 0: "female", -1: "unknown"}


def spread(values: NDArray[np.int64] | NDArray[np.int32]) -> Spread:
    """Give least, median and greatest of at least one number."""
    return Spread(min=float(values.min()), median=float(np.median(values)), max=float(values.max()))


def histogram(values: NDArray[np.int32]) -> tuple[Bin, ...]:
    """Count whole numbers: each of up to 8 different ones by itself, else in at most 8 bins of equal width."""
    different, uses = np.unique(values, return_counts=True)
    if len(different) <= MAX_BINS:
        return tuple(Bin(first=int(v), last=int(v), images=int(n)) for v, n in zip(different, uses, strict=True))
    least, most = int(different[0]), int(different[-1])
    width = -(-(most - least + 1) // MAX_BINS)
    counts = np.bincount((values - least) // width)
    return tuple(
        Bin(first=least + width * place, last=min(least + width * (place + 1) - 1, most), images=int(count))
        for place, count in enumerate(counts)
    )


def part_reports(catalogue: Catalogue) -> dict[str, PartReport]:
    """Count images, clothes and cameras per identity of each part that has images."""
    reports = {}
    for part in PARTS:
        rows = catalogue.rows_of_part(part)
        if len(rows):
            identity = catalogue.identity.codes[rows]
            clothes = _different_per_identity(identity, catalogue.clothes.codes[rows])
            reports[part] = PartReport(
                identities=len(clothes),
                images_per_identity=spread(np.unique(identity, return_counts=True)[1]),
                clothes_per_identity=spread(clothes),
                cameras_per_identity=spread(_different_per_identity(identity, catalogue.camera[rows])),
                single_outfit_identities=int((clothes == 1).sum()),
            )
    return reports


def _different_per_identity(identity: NDArray[np.int32], label: NDArray[np.int32]) -> NDArray[np.int64]:
    pairs = np.unique(np.stack([identity, label], axis=1), axis=0)
    return np.unique(pairs[:, 0], return_counts=True)[1]


def images_report(inspected: Inspected) -> ImagesReport:
    """Count what is readable, the kinds of files, and sizes in pixels."""
    readable = inspected.height > 0
    height, width = inspected.height[readable], inspected.width[readable]
    kinds = np.bincount(inspected.kind[inspected.kind >= 0], minlength=len(KINDS))
    return ImagesReport(
        readable=int(readable.sum()),
        unreadable=int((~readable).sum()),
        formats={name: int(count) for name, count in zip(KINDS, kinds, strict=True) if count},
        masks=inspected.num_masks,
        unreadable_masks=len(inspected.faults.masks),
        height=spread(height) if len(height) else None,
        width=spread(width) if len(width) else None,
        heights=histogram(height),
        widths=histogram(width),
    )


def gender_counts(gender: NDArray[np.int8]) -> dict[str, int]:
    """Count images by gender."""
    return {name: int((gender == value).sum()) for value, name in _GENDERS.items()}


def pose_counts(pose: NDArray[np.int16]) -> dict[str, int]:
    """Count images by pose cluster."""
    clusters, uses = np.unique(pose, return_counts=True)
    return {str(cluster): int(count) for cluster, count in zip(clusters, uses, strict=True)}
