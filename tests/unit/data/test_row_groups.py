"""Row groups hold whole identities or a part of one, and cells are what must be opened together."""

from __future__ import annotations

import numpy as np
import pytest

from rlq_ray.data.row_groups import cut_row_groups, find_cells


def keys(*counts: int) -> list[int]:
    return [key for key, count in enumerate(counts) for _ in range(count)]


@pytest.mark.parametrize(
    ("counts", "sizes"),
    [
        ((30, 30, 10), [60, 10]),  # the third does not fit whole
        ((64, 1), [64, 1]),
        ((130,), [44, 43, 43]),  # spread evenly, on its own
        ((20, 100, 20), [20, 50, 50, 20]),  # nobody shares a large identity's groups
        ((), []),
    ],
)
def test_identities_stay_whole_or_alone(counts, sizes):
    assert cut_row_groups(keys(*counts), [1] * sum(counts), max_rows=64) == sizes


@pytest.mark.parametrize(
    ("counts", "num_bytes", "sizes"),
    [
        ((2, 2, 2), 20, [4, 2]),  # 80 bytes, and 40 more would be too many
        ((10,), 20, [5, 5]),
        ((3,), 300, [1, 1, 1]),  # one image may be larger than a group
    ],
)
def test_large_images_make_smaller_groups(counts, num_bytes, sizes):
    assert cut_row_groups(keys(*counts), [num_bytes] * sum(counts), max_rows=64, max_bytes=100) == sizes


def test_every_cut_keeps_the_rule():
    generator = np.random.default_rng(0)
    for _ in range(50):
        rows = keys(*generator.integers(1, 150, 20).tolist())
        num_bytes = generator.integers(1, 30, len(rows)).tolist()
        sizes = cut_row_groups(rows, num_bytes, max_rows=64, max_bytes=1000)
        assert sum(sizes) == len(rows)
        assert max(sizes) <= 64
        ends = np.cumsum(sizes)
        for begin, end in zip(ends - sizes, ends, strict=True):
            inside = set(rows[begin:end])
            outside = set(rows[:begin] + rows[end:])
            assert not inside & outside or len(inside) == 1


def test_cells_are_groups_that_share_an_identity():
    group = np.array([0, 0, 0, 1, 1, 2, 3, 3])
    identity = np.array([5, 5, 6, 7, 7, 7, 8, 9])
    assert find_cells(group, identity).tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
