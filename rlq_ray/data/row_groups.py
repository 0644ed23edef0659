"""Pure: which rows make a row group, and which row groups belong together.

A row group is what is read at once, and batches show identities, so a row group holds whole identities or a part of
exactly one.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from rlq_ray.data.records import MAX_GROUP_ROWS


def cut_row_groups(keys: Sequence[Hashable], max_rows: int = MAX_GROUP_ROWS) -> list[int]:
    """Cut sorted rows into row groups and return their sizes.

    `keys` say what a row belongs to, such as (split, identity). Keys that fit whole share a group; one that needs more
    than `max_rows` is spread evenly over groups of its own.
    """
    sizes: list[int] = []
    room = 0
    for length in (len(list(run)) for _, run in groupby(keys)):
        if length <= room:
            sizes[-1] += length
            room -= length
        elif length <= max_rows:
            sizes.append(length)
            room = max_rows - length
        else:
            parts = -(-length // max_rows)
            sizes += [length // parts + (part < length % parts) for part in range(parts)]
            room = 0
    return sizes


def find_cells(group: NDArray[np.int32], identity: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the cells of rows that ascend by group: a cell is row groups that share an identity, hence whole ones.

    `group` and `identity` are of equal length; so is the result, which ascends from 0.
    """
    changes = np.flatnonzero(np.diff(group)) + 1
    begins = changes[identity[changes] != identity[changes - 1]]
    cell = np.zeros(len(group), dtype=np.int64)
    cell[begins] = 1
    return np.cumsum(cell)
