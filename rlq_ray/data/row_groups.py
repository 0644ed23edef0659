"""Pure: which rows make a row group, and which row groups belong together.

A row group is what is read at once, and batches show identities, so a row group holds whole identities or a part of
exactly one.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from rlq_ray.data.records import MAX_GROUP_BYTES, MAX_GROUP_ROWS


def cut_row_groups(
    keys: Sequence[Hashable],
    num_bytes: Sequence[int],
    *,
    max_rows: int = MAX_GROUP_ROWS,
    max_bytes: int = MAX_GROUP_BYTES,
) -> list[int]:
    """Cut sorted rows into row groups and return their sizes.

    `keys` say what a row belongs to, such as (split, identity), `num_bytes` how large its image is. Keys that fit whole
    share a group; one that does not fit into a group is spread evenly over groups of its own.
    """
    sizes: list[int] = []
    room_rows = room_bytes = start = 0
    for length in (len(list(run)) for _, run in groupby(keys)):
        run_bytes = sum(num_bytes[start : start + length])
        start += length
        if length <= room_rows and run_bytes <= room_bytes:
            sizes[-1] += length
        elif length <= max_rows and run_bytes <= max_bytes:
            sizes.append(length)
            room_rows, room_bytes = max_rows, max_bytes
        else:
            parts = min(length, max(-(-length // max_rows), -(-run_bytes // max_bytes)))
            sizes += [length // parts + (part < length % parts) for part in range(parts)]
            room_rows = room_bytes = 0
            continue
        room_rows -= length
        room_bytes -= run_bytes
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
