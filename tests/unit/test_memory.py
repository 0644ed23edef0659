"""Memory is lent again only when nobody looks at it any more, and then without new pages."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rlq_ray.storage.memory import LARGEST, MOST_FREE, SMALLEST, RecycledMemory


def address(view: memoryview) -> int:
    return int(np.frombuffer(view, dtype=np.uint8).ctypes.data)


@pytest.mark.parametrize("size", [0, 1, SMALLEST - 1, SMALLEST, SMALLEST + 1, 3 * 2**20, LARGEST, LARGEST + 1])
def test_what_is_lent_is_writable_and_as_long_as_asked(size):
    view = RecycledMemory().take(size)
    assert (len(view), view.readonly, view.itemsize) == (size, False, 1)
    view[:] = b"\7" * size
    assert bytes(view) == b"\7" * size


def test_a_block_returns_when_the_last_view_of_it_is_gone():
    memory = RecycledMemory()
    first = memory.take(2**20)
    first[:5] = b"photo"
    place, part = address(first), first[:5].toreadonly()
    del first
    second = memory.take(2**20)
    assert address(second) != place  # a slice of the first is still held
    assert part == b"photo"
    del part
    third = memory.take(2**20 - 100)
    assert address(third) == place
    assert address(memory.take(2**20)) not in (place, address(second))


def test_a_block_of_an_unfit_size_is_not_lent():
    memory = RecycledMemory()
    memory.take(2**20)
    large = memory.take(LARGEST)  # the free block is too small
    assert len(large) == LARGEST
    large[-1:] = b"\1"
    place = address(large)
    del large
    assert address(memory.take(SMALLEST)) != place  # and now it is too large to be held by so little


def test_few_blocks_stay_free():
    memory = RecycledMemory()
    lent = [memory.take(SMALLEST) for _ in range(3 * MOST_FREE)]
    assert len({address(view) for view in lent}) == 3 * MOST_FREE
    del lent
    assert len(memory._free) == MOST_FREE


def test_many_threads_never_share_a_block():
    memory, meeting = RecycledMemory(), threading.Barrier(4)

    def fill(mark: int) -> bool:
        meeting.wait(timeout=10)
        for turn in range(200):
            view = memory.take(SMALLEST + 1000 * (turn % 3))
            view[::4096] = bytes([mark]) * len(view[::4096])
            if set(view[::4096].tolist()) != {mark}:
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(fill, range(4)))
