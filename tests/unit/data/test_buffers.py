"""Memory is used again only when nobody looks at it any more."""

from __future__ import annotations

import numpy as np
import torch

from rlq_ray.data.buffers import BufferPool


def test_memory_returns_when_the_last_tensor_over_it_is_gone():
    pool = BufferPool(2)
    first = pool.take((4, 3))
    address, view = first.data_ptr(), first[1:]
    del first
    second = pool.take((4, 3))
    assert second.data_ptr() != address  # a slice of the first is still held
    del view
    others = [np.empty(12, dtype=np.uint8) for _ in range(100)]  # one would get that memory if it had been freed
    assert address not in {other.ctypes.data for other in others}
    other = pool.take((2, 6))
    assert other.data_ptr() == address
    assert other.shape == (2, 6)
    assert other.dtype == torch.uint8


def test_another_size_gets_other_memory():
    pool = BufferPool(1)
    pool.take((4,))
    assert pool.take((5,)).shape == (5,)
