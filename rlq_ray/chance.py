"""Random numbers for an image of a data set that depend on a seed and its row alone.

They are the same in any batch, on any worker and any device, so that what is drawn from them can be made again.
"""

from __future__ import annotations

import torch
from torch import Tensor


def uniform_of_rows(row_B: Tensor, seed: int, numbers: int) -> Tensor:
    """Give each row some numbers of [0, 1): float64 `(B, numbers)` on the rows' device, without waiting for it."""
    index_N = torch.arange(numbers, device=row_B.device)
    bits = _mix(_mix(row_B.long()[:, None] + int(_mix(torch.tensor(seed)))) + index_N)
    return _shift_right(bits, 11).double() * 2.0**-53


def _mix(x: Tensor) -> Tensor:
    """Scramble 64 bits (SplitMix64; Steele, Lea, Flood, OOPSLA 2014); products wrap around."""
    x = x + _signed(0x9E3779B97F4A7C15)
    x = (x ^ _shift_right(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shift_right(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shift_right(x, 31)


def _signed(x: int) -> int:
    """Read 64 bits as the two's complement that int64 tensors hold."""
    return x - (1 << 64) if x >> 63 else x


def _shift_right(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)
