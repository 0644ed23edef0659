"""Batches from a window: who is drawn, how often, from how many row groups at a time, and what that costs."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from rlq_ray.data.identity_sampler import identity_batches
from rlq_ray.data.row_groups import cut_row_groups
from rlq_ray.data.window import IdentityWindow, ImageWindow, num_lanes
from rlq_ray.errors import DataError

P, K = 16, 4


class People:
    """Identities of 20 images in 2 outfits, three to a row group: 300 identities make 100 row groups."""

    def __init__(self, num_identities: int = 300, images: int = 20) -> None:
        self.identity = np.repeat(np.arange(num_identities), images)
        self.clothes = 2 * self.identity + np.tile(np.arange(images) % 2, num_identities)
        self.rows = 1000 + np.arange(len(self.identity))
        sizes = cut_row_groups(self.identity.tolist())
        self.group = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
        self.steps = len(self.rows) // (P * K)

    def window(self, groups: int, seed: int = 0) -> IdentityWindow:
        return IdentityWindow(
            self.rows,
            self.group,
            self.identity,
            self.clothes,
            num_identities=P,
            images_per_identity=K,
            window_groups=groups,
            seed=seed,
        )

    def epoch(self, window: IdentityWindow | None, epoch: int) -> np.ndarray:
        """Give the identities of an epoch, (steps, P)."""
        if window:
            rows = window.places(slice(0, P), steps=self.steps, epoch=epoch)
        else:
            sampled = {"num_identities": P, "images_per_identity": K, "steps": self.steps, "seed": 0, "epoch": epoch}
            rows = identity_batches(self.rows, self.identity, self.clothes, **sampled)
        return self.identity[rows[:, :, 0] - 1000]


def open_groups(groups_of_step: list[set[int]]) -> list[int]:
    """Count, for every step, the row groups that were needed before or at it and are needed at it or later."""
    first, last = {}, {}
    for step, groups in enumerate(groups_of_step):
        for group in groups:
            first.setdefault(group, step)
            last[group] = step
    return [sum(first[g] <= step <= last[g] for g in first) for step in range(len(groups_of_step))]


@pytest.mark.parametrize("images", [20, 50, 150])
def test_a_batch_has_different_identities_with_several_outfits(images):
    people = People(64, images)
    rows = people.window(32).places(slice(0, P), steps=people.steps, epoch=3) - 1000
    assert rows.shape == (people.steps, P, K)
    for batch in rows:
        assert all(len(set(people.identity[images])) == 1 for images in batch)
        assert len(set(people.identity[batch[:, 0]])) == P
        assert all(len(set(people.clothes[images])) == 2 for images in batch)
        assert all(len(set(images)) == K for images in batch.tolist())


def test_identities_come_nearly_equally_often_and_show_all_images_before_one_again():
    people = People()
    rows = people.window(32).places(slice(0, P), steps=5 * people.steps, epoch=0) - 1000
    visits = Counter(people.identity[rows[:, :, 0]].ravel().tolist())
    assert len(visits) == 300
    assert max(visits.values()) <= 1.25 * min(visits.values()) + 2
    uses = np.bincount(rows.ravel(), minlength=len(people.rows)).reshape(300, 20)
    assert (uses.max(1) - uses.min(1)).max() <= 2  # 1, or 2 where a second outfit was due


@pytest.mark.parametrize("groups", [16, 32, 64])
def test_no_more_row_groups_are_open_than_the_window_has(groups):
    people = People()
    rows = people.window(groups).places(slice(0, P), steps=people.steps, epoch=0) - 1000
    counts = open_groups([set(people.group[batch.ravel()].tolist()) for batch in rows])
    assert max(counts) <= groups
    assert max(counts) > groups // 2


def test_the_lanes_are_the_same_whoever_asks_and_share_no_row_group():
    people = People()
    whole = people.window(32).places(slice(0, P), steps=people.steps, epoch=5)
    parts = [people.window(32).places(slice(p, p + 4), steps=people.steps, epoch=5) for p in range(0, P, 4)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    groups = [set(people.group[whole[:, lane].ravel() - 1000].tolist()) for lane in range(P)]
    assert all(not first & second for first, second in combinations(groups, 2))
    assert not np.array_equal(whole, people.window(32).places(slice(0, P), steps=people.steps, epoch=6))
    assert not np.array_equal(whole, people.window(32, seed=1).places(slice(0, P), steps=people.steps, epoch=5))


def test_what_a_window_costs_in_randomness():
    """The figures of the module's docstring: pairs that meet, and how an identity's visits spread over an epoch."""
    people = People()

    def pairs(window: IdentityWindow | None, epochs: int) -> int:
        batches = np.concatenate([people.epoch(window, epoch) for epoch in range(epochs)])
        return len({pair for batch in batches.tolist() for pair in combinations(sorted(batch), 2)})

    def span(window: IdentityWindow | None) -> float:
        batches = people.epoch(window, 0)
        steps = [np.flatnonzero((batches == name).any(1)) for name in range(300)]
        return float(np.mean([(s[-1] - s[0]) / len(batches) for s in steps]))

    met_once, met, visited = pairs(None, 1), pairs(None, 8), span(None)
    assert visited == pytest.approx(0.80, abs=0.02)
    for groups, once, eight_times, spread in ((32, 0.85, 0.94, 0.21), (16, 0.66, 0.82, 0.12)):
        window = people.window(groups)
        assert pairs(window, 1) / met_once == pytest.approx(once, abs=0.03)
        assert pairs(window, 8) / met == pytest.approx(eight_times, abs=0.03)
        assert span(window) == pytest.approx(spread, abs=0.02)


def test_too_few_independent_row_groups_are_refused():
    people = People(12, 200)
    with pytest.raises(DataError, match=r"make 12 independent parts, a batch of 16 .* set data.window_mb='all'"):
        people.window(32)


@pytest.mark.parametrize(("images", "lanes"), [(64, 8), (12, 2), (7, 1), (11, 11), (1, 1)])
def test_lanes_of_unlabelled_batches_are_few(images, lanes):
    assert num_lanes(images) == lanes


@pytest.mark.parametrize("batch", [64, 12])
def test_unlabelled_images_come_once_an_epoch_from_few_row_groups(batch):
    people = People()
    window = ImageWindow(people.rows, people.group, num_images=batch, window_groups=16, seed=0)
    rows = window.places(slice(0, batch), epoch=0)
    assert rows.shape == (6000 // batch, batch)
    assert len(set(rows.ravel().tolist())) == rows.size
    counts = open_groups([set(people.group[images - 1000].tolist()) for images in rows])
    assert max(counts) <= 16 + num_lanes(batch)  # where one closes and the next opens within a batch
    share = batch // 4
    parts = [window.places(slice(rank * share, (rank + 1) * share), epoch=0) for rank in range(4)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), rows)
    assert not np.array_equal(rows, window.places(slice(0, batch), epoch=1))
