"""Batches from a window: who is drawn, how often, from how many row groups at a time, and what that costs."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from rlq_ray.data.identity_sampler import identity_batches
from rlq_ray.data.row_groups import cut_row_groups
from rlq_ray.data.window import IdentityWindow, ImageWindow, num_lanes
from rlq_ray.errors import UsageError

P, K = 16, 4
GROUP_ROWS = 60
FIGURES = ((32, 0.87, 0.94, 0.20), (8, 0.47, 0.68, 0.06))
"""Row groups of a window; pairs that meet in one epoch and in eight, and an epoch's share that visits span."""


class People:
    """Identities with as many images each, in 2 outfits; by default 300 of 20, three to a row group: 100 row groups."""

    def __init__(self, num_identities: int = 300, images: int = 20) -> None:
        self.identity = np.repeat(np.arange(num_identities), images)
        self.clothes = 2 * self.identity + np.tile(np.arange(images) % 2, num_identities)
        self.rows = 1000 + np.arange(len(self.identity))
        sizes = cut_row_groups(self.identity.tolist(), [1] * len(self.identity), max_rows=GROUP_ROWS)
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


@pytest.mark.parametrize(("groups", "lanes"), [(1, 1), (4, 2), (11, 4), (32, 16), (100, 16)])
def test_lanes_divide_the_places_and_have_two_row_groups_if_they_can(groups, lanes):
    assert num_lanes(16, groups) == lanes


@pytest.mark.parametrize(("places", "lanes"), [(64, 16), (12, 12), (34, 2), (13, 13), (17, 1), (1, 1)])
def test_lanes_are_at_most_sixteen(places, lanes):
    assert num_lanes(places, 1000) == lanes


@pytest.mark.parametrize(
    ("identities", "images", "groups"),
    [(64, 20, 8), (64, 20, 20), (64, 50, 32), (24, 150, 48), (24, 150, 60), (17, 20, 6), (17, 40, 16), (16, 40, 16)],
)
def test_a_batch_has_different_identities_with_several_outfits(identities, images, groups):
    people = People(identities, images)
    rows = people.window(groups).places(slice(0, P), steps=people.steps, epoch=3) - 1000
    assert rows.shape == (people.steps, P, K)
    for batch in rows:
        assert all(len(set(people.identity[images])) == 1 for images in batch)
        assert len(set(people.identity[batch[:, 0]])) == P
        assert all(len(set(people.clothes[images])) == 2 for images in batch)
        assert all(len(set(images)) == K for images in batch.tolist())


@pytest.mark.parametrize(("groups", "times"), [(8, {4, 5}), (32, {4, 5, 6})])
def test_identities_come_equally_often_and_show_all_images_before_one_again(groups, times):
    people = People()
    rows = people.window(groups).places(slice(0, P), steps=people.steps, epoch=0) - 1000
    visits = Counter(people.identity[rows[:, :, 0]].ravel().tolist())
    assert len(visits) == 300
    assert set(visits.values()) == times  # 4.96 on average; 5.17 in a lane that has 18 identities instead of 19
    uses = np.bincount(rows.ravel(), minlength=len(people.rows)).reshape(300, 20)
    assert (uses.max(1) - uses.min(1)).max() <= 2  # 1, or 2 where a second outfit was due


@pytest.mark.parametrize("groups", [8, 11, 16, 32, 64])
def test_no_more_row_groups_are_open_than_the_window_has(groups):
    people = People()
    window = people.window(groups)
    rows = window.places(slice(0, P), steps=people.steps, epoch=0) - 1000
    counts = open_groups([set(people.group[batch.ravel()].tolist()) for batch in rows])
    assert max(counts) <= groups + window.num_lanes  # a batch may use one up and open the next, and two lanes share one
    assert max(counts) > groups // 2


def test_a_window_that_large_identities_would_break_is_refused():
    people = People(64, 300)  # five row groups each
    with pytest.raises(UsageError, match=r"holds 32 row groups, but 16 identities of up to 5 row groups may need 80"):
        people.window(32)
    window = people.window(80)
    rows = window.places(slice(0, P), steps=people.steps, epoch=0) - 1000
    counts = open_groups([set(people.group[batch.ravel()].tolist()) for batch in rows])
    assert max(counts) <= 80 + 5 * window.num_lanes


@pytest.mark.parametrize("groups", [11, 32])
def test_the_places_are_the_same_whoever_asks_and_few_share_row_groups(groups):
    people = People()
    whole = people.window(groups).places(slice(0, P), steps=people.steps, epoch=5)
    for share in (1, 2, 4, 8):
        ranks = range(0, P, share)
        parts = [people.window(groups).places(slice(p, p + share), steps=people.steps, epoch=5) for p in ranks]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    lane = P // people.window(groups).num_lanes
    read = [set(people.group[whole[:, p : p + lane].ravel() - 1000].tolist()) for p in range(0, P, lane)]
    assert sum(map(len, read)) <= 100 + len(read) - 1  # neighbours share one at most
    assert not np.array_equal(whole, people.window(groups).places(slice(0, P), steps=people.steps, epoch=6))
    assert not np.array_equal(whole, people.window(groups, seed=1).places(slice(0, P), steps=people.steps, epoch=5))


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
    for groups, once, eight_times, spread in FIGURES:
        window = people.window(groups)
        assert pairs(window, 1) / met_once == pytest.approx(once, abs=0.03)
        assert pairs(window, 8) / met == pytest.approx(eight_times, abs=0.03)
        assert span(window) == pytest.approx(spread, abs=0.02)


@pytest.mark.parametrize("batch", [64, 12])
def test_unlabelled_images_come_once_an_epoch_from_few_row_groups(batch):
    people = People()
    window = ImageWindow(people.rows, people.group, num_images=batch, window_groups=16, seed=0)
    rows = window.places(slice(0, batch), epoch=0)
    assert rows.shape == (6000 // batch, batch)
    assert len(set(rows.ravel().tolist())) == rows.size
    counts = open_groups([set(people.group[images - 1000].tolist()) for images in rows])
    assert max(counts) <= 16 + window.num_lanes  # where one closes and the next opens within a batch
    share = batch // 4
    parts = [window.places(slice(rank * share, (rank + 1) * share), epoch=0) for rank in range(4)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), rows)
    assert not np.array_equal(rows, window.places(slice(0, batch), epoch=1))
