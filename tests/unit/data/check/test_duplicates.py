"""Copies are told apart by where they are and whom they are said to show."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from rlq_ray.data.check import Catalogue, Copies, Inspected, closest_copies, search, searches
from rlq_ray.data.check.duplicates import find_exact_copies, without_exact
from rlq_ray.data.check.inspection import Faults


def inspected_as(contents: str) -> Inspected:
    """What N images would show whose bytes are equal where the letters are; `.` is an image without bytes."""
    size = len(contents)
    rng = np.random.default_rng(0)
    hash_of = {letter: rng.integers(0, 2**64, (2, 4), dtype=np.uint64) for letter in sorted(set(contents))}
    is_read = np.array([letter != "." for letter in contents])
    return Inspected(
        sha256=np.array([hashlib.sha256(letter.encode()).digest() for letter in contents], dtype="S32"),
        kind=np.where(is_read, 0, -1).astype(np.int8),
        height=np.where(is_read, 8, 0).astype(np.int32),
        width=np.where(is_read, 4, 0).astype(np.int32),
        comparable=is_read,
        hashes=np.stack([hash_of[letter] for letter in contents]).reshape(size, 2, 4),
        num_masks=0,
        faults=Faults(),
    )


def test_exact_copies_are_grouped_by_what_is_wrong_with_them(catalogue_of: Callable[..., Catalogue]) -> None:
    catalogue = catalogue_of(
        [
            ("train", "a", "a1", 0),
            ("query", "b", "b1", 0),
            ("train", "a", "a2", 1),
            ("train", "c", "c1", 2),
            ("query", "b", "b1", 3),
            ("gallery", "b", "b2", 1),
            ("val", "d", "d1", 1),
            ("gallery", "e", "e1", 1),
        ]
    )
    found = find_exact_copies(catalogue, inspected_as("XXYYZZ.."))
    assert [rows.tolist() for rows in found.across_parts] == [[0, 1]]
    assert [rows.tolist() for rows in found.of_several_people] == [[2, 3]]
    assert [rows.tolist() for rows in found.of_one_person] == [[4, 5]]


def test_without_copies_there_are_no_groups(catalogue_of: Callable[..., Catalogue]) -> None:
    found = find_exact_copies(catalogue_of([("train", "a", "a1", 0), ("query", "b", "b1", 0)]), inspected_as("XY"))
    assert (found.across_parts, found.of_several_people, found.of_one_person) == ([], [], [])


def test_near_copies_are_sought_between_parts_alone(catalogue_of: Callable[..., Catalogue]) -> None:
    rows = [("train", "a", "a", 0), ("train", "a", "a", 0), ("val", "b", "b", 0), ("query", "c", "c", 0)]
    inspected = inspected_as("XXXXX.")
    jobs = list(searches(catalogue_of([*rows, ("gallery", "c", "c", 1), ("gallery", "d", "d", 1)]), inspected))
    assert [(pair, job.rows.tolist(), job.other_rows.tolist()) for pair, job in jobs] == [
        (("val", "train"), [2], [0, 1]),
        (("test", "train"), [3, 4], [0, 1]),
        (("test", "val"), [3, 4], [2]),
    ]
    copies = closest_copies(search(job) for _, job in jobs)
    assert copies.row.tolist() == [2, 3, 4]
    assert len(without_exact(copies, inspected).row) == 0


def test_copies_of_other_bytes_stay() -> None:
    copies = Copies(np.array([0, 2]), np.array([1, 1]), np.array([0, 3], np.int16))
    found = without_exact(copies, inspected_as("XXY"))
    assert (found.row.tolist(), found.other.tolist(), found.bits.tolist()) == ([2], [1], [3])
