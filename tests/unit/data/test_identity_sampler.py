"""The order of target batches: even, varied, and a function of seed and epoch alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from rlq_ray.data.identity_sampler import _Turns, identity_batches, num_identity_steps
from rlq_ray.errors import DataError


def people(*outfits_of: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give rows from 100 on, where identity i has outfits with the given numbers of images."""
    identity, clothes, outfit = [], [], 0
    for person, counts in enumerate(outfits_of):
        for count in counts:
            identity += [person] * count
            clothes += [outfit] * count
            outfit += 1
    return np.arange(100, 100 + len(identity)), np.array(identity), np.array(clothes)


def batches(crowd, p=2, k=4, steps=5, seed=0, epoch=0):
    rows, identity, clothes = crowd
    return identity_batches(
        rows, identity, clothes, num_identities=p, images_per_identity=k, steps=steps, seed=seed, epoch=epoch
    )


CROWD = people((20, 2), (3, 3, 3), (8,), (1,), (2, 1), (5, 5), (4,))


def test_shape_and_one_identity_per_row_of_a_batch():
    order = batches(CROWD, p=5, k=4, steps=9)
    assert order.shape == (9, 5, 4)
    identity = CROWD[1][order - 100]
    assert (identity == identity[:, :, :1]).all()
    assert all(len(set(batch[:, 0].tolist())) == 5 for batch in identity)


def test_too_few_identities_are_refused():
    with pytest.raises(DataError, match=r"7 training identities do not fill a batch of 8: lower batch\.identities"):
        batches(CROWD, p=8)


@pytest.mark.parametrize("p", [2, 3, 5, 7])
@pytest.mark.parametrize("steps", [1, 4, 11])
def test_identities_occur_evenly(p, steps):
    identity = CROWD[1][batches(CROWD, p=p, steps=steps) - 100][:, :, 0]
    counts = Counter(dict.fromkeys(range(7), 0))
    counts.update(identity.ravel().tolist())
    assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("k", [2, 3, 4, 8])
def test_two_outfits_whenever_there_are_two(k):
    _, identity, clothes = CROWD
    several = {person for person in range(7) if len(set(clothes[identity == person])) > 1}
    for images in batches(CROWD, p=7, k=k, steps=30).reshape(-1, k):
        if identity[images[0] - 100] in several:
            assert len(set(clothes[images - 100].tolist())) > 1


def test_images_repeat_only_when_all_were_used():
    rows, identity, _ = CROWD
    order = batches(CROWD, p=7, k=3, steps=20)
    for person in (1, 2, 5, 6):  # enough of every outfit that two never demand a repeat
        pool = set(rows[identity == person].tolist())
        seen = [row for images in order.reshape(-1, 3) if images[0] in pool for row in images.tolist()]
        counts = Counter(seen)
        assert set(counts) == pool
        assert max(counts.values()) - min(counts.values()) <= 1


def test_a_forced_second_outfit_still_uses_every_image_once_a_round():
    identity = CROWD[1]
    order = batches(CROWD, p=7, k=4, steps=10)
    seen = Counter(row for images in order.reshape(-1, 4) if identity[images[0] - 100] == 0 for row in images.tolist())
    large, small = [seen[row] for row in range(100, 120)], [seen[row] for row in range(120, 122)]
    assert sum(large) + sum(small) == 40
    assert set(large) <= {1, 2}
    assert max(small) - min(small) <= 1


def test_few_images_are_repeated_evenly():
    order = batches(CROWD, p=7, k=8, steps=6)
    for images in order.reshape(-1, 8):
        pool = np.sum(CROWD[1] == CROWD[1][images[0] - 100])
        counts = Counter(images.tolist())
        assert len(counts) == min(pool, 8)
        if pool < 8:
            assert max(counts.values()) - min(counts.values()) <= 1


def test_order_depends_on_seed_and_epoch_alone():
    np.testing.assert_array_equal(batches(CROWD, seed=-3, epoch=2), batches(CROWD, seed=-3, epoch=2))
    assert not np.array_equal(batches(CROWD, seed=3, epoch=2), batches(CROWD, seed=3, epoch=3))
    assert not np.array_equal(batches(CROWD, seed=3, epoch=2), batches(CROWD, seed=4, epoch=2))


def test_steps_show_as_many_images_as_there_are():
    assert num_identity_steps(9576, 8, 8) == 149
    assert num_identity_steps(10, 8, 8) == 1


@pytest.mark.parametrize("p", [2, 5, 7])
@pytest.mark.parametrize("seed", range(5))
def test_identities_come_in_the_order_of_a_list_that_is_searched_from_its_front(p, seed):
    names = np.arange(7)
    generator = np.random.default_rng([seed, 3])
    turns = _Turns(names, np.random.default_rng([seed, 3]))
    queue: list[int] = []
    for _ in range(12):
        taken: list[int] = []
        while len(taken) < p:
            queue = queue or generator.permutation(names).tolist()
            taken.append(queue.pop(next(i for i, name in enumerate(queue) if name not in taken)))
        assert turns.take(p) == taken
