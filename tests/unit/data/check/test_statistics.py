"""Spreads and histograms by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rlq_ray.data.check import Catalogue, Spread
from rlq_ray.data.check.statistics import gender_counts, histogram, part_reports, pose_counts, spread


def test_spread() -> None:
    assert spread(np.array([5, 1, 2, 4])) == Spread(min=1, median=3, max=5)


def test_few_different_numbers_are_counted_each() -> None:
    bins = histogram(np.array([128, 64, 128, 128], dtype=np.int32))
    assert [(found.first, found.last, found.images) for found in bins] == [(64, 64, 1), (128, 128, 3)]


def test_many_different_numbers_are_binned() -> None:
    bins = histogram(np.arange(100, 120, dtype=np.int32))
    assert [(found.first, found.last, found.images) for found in bins] == [
        *((first, first + 2, 3) for first in range(100, 118, 3)),
        (118, 119, 2),
    ]
    assert histogram(np.empty(0, dtype=np.int32)) == ()


def test_a_part_is_counted_per_identity(catalogue_of: Callable[..., Catalogue]) -> None:
    rows = [("train", "a", "a1", 0), ("train", "a", "a2", 0), ("train", "a", "a2", 1), ("train", "b", "b1", 0)]
    reports = part_reports(catalogue_of([*rows, ("query", "c", "c1", 0), ("gallery", "c", "c1", 1)]))
    assert list(reports) == ["train", "test"]
    assert reports["train"].images_per_identity == Spread(min=1, median=2, max=3)
    assert reports["train"].clothes_per_identity == Spread(min=1, median=1.5, max=2)
    assert reports["train"].cameras_per_identity == Spread(min=1, median=1.5, max=2)
    assert (reports["train"].identities, reports["train"].single_outfit_identities) == (2, 1)
    assert reports["test"].images_per_identity == Spread(min=2, median=2, max=2)


def test_genders_and_poses_are_counted() -> None:
    assert gender_counts(np.array([1, 0, -1, 1], np.int8)) == {"male": 2, "female": 1, "unknown": 1}
    assert pose_counts(np.array([0, 3, 3], np.int16)) == {"0": 1, "3": 2}
