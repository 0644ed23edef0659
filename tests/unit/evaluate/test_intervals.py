from dataclasses import replace

import numpy as np
import pytest

from rlq_ray.errors import DataError
from rlq_ray.evaluate import Ranking, differences, metrics, score_intervals


def ranking_of(ap, identity, protocol="cc"):
    ap, ones = np.asarray(ap, dtype=float), np.ones(len(ap), dtype=np.int64)
    return Ranking(protocol, np.asarray(identity), ones > 0, ap, ap, (ap < 0.5).astype(np.int64), ones, 10 * ones)


def test_there_is_no_interval_without_anything_to_resample():
    assert score_intervals(ranking_of([0.2, 0.4], [0, 1]), samples=0, seed=0) == {}
    assert score_intervals(ranking_of([0.2, 0.4], [3, 3]), samples=50, seed=0) == {}


def test_interval_of_two_identities_by_hand():
    # Identity 0 has mean 0, identity 1 has mean 1: the resampled mean is 0, 1 or, by query counts, 3/4.
    ranking = ranking_of([0, 1, 1, 1], [0, 1, 1, 1])
    ends = score_intervals(ranking, samples=400, seed=0)
    assert (ends["mAP"].low, ends["mAP"].high) == (0, 1)
    assert (ends["top20"].low, ends["top20"].high) == (1, 1)


def test_interval_covers_and_agrees_with_a_slow_bootstrap():
    rng = np.random.default_rng(2)
    identity = np.repeat(np.arange(40), rng.integers(1, 9, size=40))
    ap = np.clip(rng.normal(0.4, 0.2, size=40)[identity] + rng.normal(0, 0.1, size=identity.size), 0, 1)
    ends = score_intervals(ranking_of(ap, identity), samples=4000, seed=0)["mAP"]
    means = []
    for _ in range(4000):
        drawn = rng.integers(40, size=40)
        means.append(np.concatenate([ap[identity == p] for p in drawn]).mean())
    assert ends.low < ap.mean() < ends.high
    assert (ends.low, ends.high) == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.006)


def test_clustered_queries_give_a_wider_interval_than_independent_ones():
    ap = np.repeat(np.linspace(0, 1, 10), 20)
    clustered = score_intervals(ranking_of(ap, np.repeat(np.arange(10), 20)), samples=500, seed=0)["mAP"]
    single = score_intervals(ranking_of(ap, np.arange(200)), samples=500, seed=0)["mAP"]
    assert clustered.high - clustered.low > 3 * (single.high - single.low)


def test_the_seed_decides():
    ranking = ranking_of(np.random.default_rng(0).random(60), np.arange(60) // 3)
    first = score_intervals(ranking, samples=200, seed=1)
    assert score_intervals(ranking, samples=200, seed=1) == first
    assert score_intervals(ranking, samples=200, seed=2) != first


def test_queries_without_match_do_not_count():
    ap = np.random.default_rng(0).random(30)
    ranking = ranking_of(ap, np.arange(30) // 3)
    longer = ranking_of([*ap, np.nan], [*(np.arange(30) // 3), 99])
    longer.valid_Q[-1] = False
    assert score_intervals(longer, samples=100, seed=0) == score_intervals(ranking, samples=100, seed=0)


def test_paired_differences():
    rng = np.random.default_rng(0)
    identity = np.arange(120) // 4
    before = np.clip(rng.normal(0.4, 0.2, size=30)[identity], 0, 0.9)
    gained = differences(ranking_of(before, identity), ranking_of(before + 0.01, identity), samples=300, seed=0)["mAP"]
    assert (gained.delta, gained.low, gained.high) == pytest.approx((0.01, 0.01, 0.01))
    assert gained.share_not_above_zero == 0
    none = differences(ranking_of(before, identity), ranking_of(before, identity), samples=300, seed=0)["mAP"]
    assert (none.delta, none.share_not_above_zero) == (0, 1)
    noise = rng.normal(0, 0.05, size=30)[identity]
    unsure = differences(ranking_of(before, identity), ranking_of(before + noise, identity), samples=300, seed=0)["mAP"]
    assert unsure.low < unsure.delta < unsure.high
    assert metrics(ranking_of(before + noise, identity)).mean_ap - metrics(ranking_of(before, identity)).mean_ap == (
        pytest.approx(unsure.delta)
    )


def test_only_the_same_queries_compare():
    one = ranking_of([0.1, 0.2], [0, 1])
    for other in (ranking_of([0.1, 0.2], [0, 2]), ranking_of([0.1, 0.2], [0, 1], "sc"), ranking_of([0.1], [0])):
        with pytest.raises(DataError, match="not of the same queries"):
            differences(one, other, samples=10, seed=0)
    with pytest.raises(DataError, match="not of the same queries"):
        differences(one, replace(one, match_count_Q=np.array([1, 2])), samples=10, seed=0)
    with pytest.raises(ValueError, match="samples is 0"):
        differences(one, one, samples=0, seed=0)
