"""The same picture twice: exact copies by the hash of the bytes, near copies by the hash of the look. Pure.

Near copies are sought between train, val and test only: within a part, frames that follow one another look alike, and
of query and gallery every protocol compares different cameras.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlq_ray.data.check.catalogue import PARTS, Catalogue
from rlq_ray.data.check.hashing import Copies, SearchJob, cut_search
from rlq_ray.data.check.inspection import Inspected

PAIRS = (("val", "train"), ("test", "train"), ("test", "val"))
"""Parts that are compared: each image of the first with all of the second."""


@dataclass(frozen=True)
class ExactCopies:
    """Groups of rows with equal bytes, each sorted: across parts, of several people in one part, of one person."""

    across_parts: list[NDArray[np.int64]]
    of_several_people: list[NDArray[np.int64]]
    of_one_person: list[NDArray[np.int64]]


def find_exact_copies(catalogue: Catalogue, inspected: Inspected) -> ExactCopies:
    """Group the images whose bytes are equal."""
    part_of_row = _parts_of_rows(catalogue)
    found = ExactCopies([], [], [])
    rows = np.flatnonzero(inspected.kind >= 0)
    _, group, uses = np.unique(inspected.sha256[rows], return_inverse=True, return_counts=True)
    repeated = rows[uses[group] > 1]
    repeated = repeated[np.argsort(inspected.sha256[repeated], kind="stable")]
    ends = np.flatnonzero(inspected.sha256[repeated][1:] != inspected.sha256[repeated][:-1]) + 1
    for copies in np.split(repeated, ends) if len(repeated) else []:
        if len(set(part_of_row[copies].tolist())) > 1:
            found.across_parts.append(copies)
        elif len(set(catalogue.identity.codes[copies].tolist())) > 1:
            found.of_several_people.append(copies)
        else:
            found.of_one_person.append(copies)
    return found


def searches(catalogue: Catalogue, inspected: Inspected) -> Iterator[tuple[tuple[str, str], SearchJob]]:
    """List the pieces of the search for near copies, with the parts that each compares."""
    rows = {part: catalogue.rows_of_part(part) for part in PARTS}
    comparable = {part: some[inspected.comparable[some]] for part, some in rows.items()}
    for pair in PAIRS:
        for job in cut_search(inspected.hashes, comparable[pair[0]], comparable[pair[1]]):
            yield pair, job


def without_exact(copies: Copies, inspected: Inspected) -> Copies:
    """Leave out the copies whose bytes are equal, which are found by these."""
    differ = inspected.sha256[copies.row] != inspected.sha256[copies.other]
    return Copies(copies.row[differ], copies.other[differ], copies.bits[differ])


def _parts_of_rows(catalogue: Catalogue) -> NDArray[np.int8]:
    """Number each row's part in `PARTS`."""
    part_of_row = np.zeros(len(catalogue), dtype=np.int8)
    for number, part in enumerate(PARTS):
        part_of_row[catalogue.rows_of_part(part)] = number
    return part_of_row
