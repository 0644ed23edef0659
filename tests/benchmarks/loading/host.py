"""The machine before a pass: the same for everybody."""

from __future__ import annotations

import mmap

WARM_BYTES = 512 * 2**20
"""More than a pass of anybody but Ray Data takes."""


def warm_memory() -> None:
    """Touch memory and free it, so that the pages a pass then takes are there.

    The host of a virtual machine takes back what has been free for some seconds. The next to touch it pays for its
    return: 2 ms per MB where 0.2 is usual, and 15 µs per image of a pass of one second, by chance of who ran before.
    """
    with mmap.mmap(-1, WARM_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        if hasattr(mmap, "MADV_HUGEPAGE"):
            block.madvise(mmap.MADV_HUGEPAGE)
        block[:: mmap.PAGESIZE] = b"\1" * (WARM_BYTES // mmap.PAGESIZE)
