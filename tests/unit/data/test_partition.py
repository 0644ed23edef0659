"""Shares of ranks and shuffled batches."""

from __future__ import annotations

import numpy as np
import pytest

from rlq_ray.data.partition import places_of_names, rank_share, shuffled_batches
from rlq_ray.errors import DataError, UsageError


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_shares_put_together_are_the_batch(world_size):
    batch = np.arange(8)
    parts = [batch[rank_share(8, rank, world_size)] for rank in range(world_size)]
    assert {len(part) for part in parts} == {8 // world_size}
    np.testing.assert_array_equal(np.concatenate(parts), batch)


def test_uneven_shares_and_unknown_ranks_are_refused():
    with pytest.raises(UsageError, match=r"8 identities or images .* by 3 workers: take a multiple of 3"):
        rank_share(8, 0, 3)
    with pytest.raises(UsageError, match="rank 2 does not exist among 2 workers"):
        rank_share(8, 2, 2)


def test_an_epoch_is_a_new_permutation_without_its_rest():
    first, second = (shuffled_batches(103, 10, seed=1, epoch=epoch) for epoch in (0, 1))
    assert first.shape == (10, 10)
    assert len(set(first.ravel().tolist())) == 100
    assert set(first.ravel().tolist()) <= set(range(103))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(second, shuffled_batches(103, 10, seed=1, epoch=1))


def test_less_than_a_batch_is_refused():
    with pytest.raises(DataError, match="9 images do not fill a batch of 10"):
        shuffled_batches(9, 10, seed=0, epoch=0)


def test_names_are_found_wherever_they_occur():
    names = np.random.default_rng(0).integers(-50, 50, 300).astype(np.int32)
    places = places_of_names(names)
    assert list(places) == sorted(set(names.tolist()))
    for name, own in places.items():
        np.testing.assert_array_equal(own, np.flatnonzero(names == name))
    assert places_of_names(names[:0]) == {}
