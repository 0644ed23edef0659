"""Memory for what is read, used again once nobody looks at it: the system's fresh pages cost more than filling them."""

from __future__ import annotations

import mmap
import weakref
from collections import deque

import numpy as np

Content = bytes | memoryview
"""What was read; a view keeps its memory from being used again."""

MOST_FREE = 8
"""Blocks that are kept without a use; a window of row groups closes about as many at once."""
SMALLEST, LARGEST = 2**18, 2**23
"""Bytes of what takes a block: the rest is too small to matter, or too large to be kept for the next."""


_LARGE_PAGE = 2**21


class RecycledMemory:
    """Lends blocks to many threads; one that no view looks at any more is lent again."""

    def __init__(self) -> None:
        self._free: deque[mmap.mmap] = deque(maxlen=MOST_FREE)

    def take(self, size: int) -> memoryview:
        """Give `size` bytes, writable, of any content."""
        if not SMALLEST <= size <= LARGEST:
            return memoryview(bytearray(size))
        block = self._free_block(size) or _new_block(size)
        lent = np.frombuffer(block, dtype=np.uint8, count=size)  # lives as long as any view of it
        weakref.finalize(lent, self._free.append, block).atexit = False
        return lent.data

    def _free_block(self, size: int) -> mmap.mmap | None:
        """Take the block that was used last; one of an unfit size gives way, so that what is kept fits what is read.

        Without a lock, since a block may come back in the middle of this, whenever Python frees a view.
        """
        try:
            block = self._free.pop()
        except IndexError:
            return None
        return block if size <= len(block) <= 2 * size else None


def _new_block(size: int) -> mmap.mmap:
    """Get a block of a power of two, of which only what is used takes memory, most of it in large pages."""
    block = mmap.mmap(-1, 1 << (size - 1).bit_length(), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):  # Linux
        block.madvise(mmap.MADV_HUGEPAGE, 0, size // _LARGE_PAGE * _LARGE_PAGE)
    return block
