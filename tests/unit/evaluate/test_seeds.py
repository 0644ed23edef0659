from dataclasses import replace

import numpy as np
import pytest

from rlq_ray.errors import DataError
from rlq_ray.evaluate import Interval, Ranking, differences, differences_of_seeds, score_intervals, score_seeds


def ranking_of(ap, identity, protocol="cc"):
    ap, ones = np.asarray(ap, dtype=float), np.ones(len(ap), dtype=np.int64)
    return Ranking(protocol, np.asarray(identity), ones > 0, ap, ap, (ap < 0.5).astype(np.int64), ones, 10 * ones)


def noisy_seeds(rng, identity, *, mean, seeds, between_seeds):
    """Average precisions with an effect of the identity, of the seed, and of both together."""
    person_P = rng.normal(0, 0.1, size=identity.max() + 1)
    return [
        mean + effect + person_P[identity] + rng.normal(0, 0.05, size=len(identity))
        for effect in rng.normal(0, between_seeds, size=seeds)
    ]


def test_values_mean_and_deviation_by_hand():
    scores = score_seeds(
        [ranking_of([0.2, 0.4], [0, 1]), ranking_of([0.4, 0.8], [0, 1]), ranking_of([0.6, 0.6], [0, 1])],
        samples=50,
        seed=0,
    )
    assert list(scores) == ["mAP", "mINP", "top1", "top5", "top10", "top20"]
    assert scores["mAP"].values == pytest.approx((0.3, 0.6, 0.6))
    assert scores["mAP"].mean == pytest.approx(0.5)
    assert scores["mAP"].deviation == pytest.approx(np.sqrt(0.03)), "√((0.04 + 0.01 + 0.01) / 2)"
    assert scores["top1"].values == (0, 0.5, 1)
    assert scores["top1"].deviation == pytest.approx(0.5)


def test_one_seed_has_no_deviation_and_the_interval_of_its_ranking():
    rng = np.random.default_rng(0)
    ranking = ranking_of(rng.random(60), np.arange(60) // 3)
    scores = score_seeds([ranking], samples=200, seed=4)
    assert scores["mAP"].deviation is None
    alone = score_intervals(ranking, samples=200, seed=4)
    for name, score in scores.items():
        assert (score.interval.low, score.interval.high) == pytest.approx((alone[name].low, alone[name].high))


def test_there_is_no_interval_without_anything_to_resample():
    one = ranking_of([0.2, 0.4], [3, 3])
    assert score_seeds([one, one], samples=50, seed=0)["mAP"].interval is None
    assert score_seeds([ranking_of([0.2, 0.4], [0, 1])] * 2, samples=0, seed=0)["mAP"].interval is None


def test_in_percent():
    scores = score_seeds([ranking_of([0.2, 0.4], [0, 1]), ranking_of([0.4, 0.8], [0, 1])], samples=0, seed=0)
    assert scores["mAP"].percent() == "45.0 ± 21.2"
    assert replace(scores["mAP"], interval=Interval(0.31, 0.584)).percent() == "45.0 ± 21.2 (31.0–58.4)"
    assert replace(scores["mAP"], deviation=None).percent() == "45.0"


def test_seeds_that_scatter_widen_the_interval_although_identities_do_not():
    """Two seeds of constant scores 0 and 1: drawn are both once (1/2), one twice (1/4 each)."""
    seeds = [ranking_of([0.0, 0.0], [0, 1]), ranking_of([1.0, 1.0], [0, 1])]
    assert score_seeds(seeds, samples=200, seed=0)["mAP"].interval == Interval(0, 1)
    assert score_seeds(seeds[:1], samples=200, seed=0)["mAP"].interval == Interval(0, 0)


def test_interval_agrees_with_a_slow_two_level_bootstrap():
    rng = np.random.default_rng(2)
    identity = np.repeat(np.arange(30), rng.integers(1, 9, size=30))
    aps = noisy_seeds(rng, identity, mean=0.5, seeds=4, between_seeds=0.05)
    found = score_seeds([ranking_of(ap, identity) for ap in aps], samples=4000, seed=0)["mAP"].interval
    means = []
    for _ in range(4000):
        rows = np.concatenate([np.flatnonzero(identity == p) for p in rng.integers(30, size=30)])
        means.append(np.mean([aps[s][rows].mean() for s in rng.integers(4, size=4)]))
    assert (found.low, found.high) == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.005)


def test_one_seed_each_is_the_paired_comparison():
    rng = np.random.default_rng(0)
    identity = np.arange(60) // 3
    before, after = ranking_of(rng.random(60), identity), ranking_of(rng.random(60), identity)
    plain = differences(before, after, samples=200, seed=1)["mAP"]
    found = differences_of_seeds([before], [after], samples=200, seed=1)["mAP"]
    assert (found.delta, found.low, found.high) == pytest.approx((plain.delta, plain.low, plain.high))
    assert found.share_not_above_zero == plain.share_not_above_zero
    assert found.gains == pytest.approx((plain.delta,))
    assert plain.gains == ()


def test_gains_per_seed_by_hand():
    before = [ranking_of([0.2, 0.4], [0, 1]), ranking_of([0.3, 0.3], [0, 1])]
    after = [ranking_of([0.4, 0.4], [0, 1]), ranking_of([0.3, 0.9], [0, 1])]
    found = differences_of_seeds(before, after, samples=400, seed=0)["mAP"]
    assert found.gains == pytest.approx((0.1, 0.3))
    assert found.delta == pytest.approx(0.2)
    # Gains are 0.2 and 0 of the first seed, 0 and 0.6 of the second, by identity: 0 … 0.6 is what can be drawn.
    assert (found.low, found.high) == pytest.approx((0, 0.6))


def test_what_a_seed_does_to_both_methods_cancels_in_pairs():
    rng = np.random.default_rng(0)
    identity = np.arange(120) // 4
    aps = noisy_seeds(rng, identity, mean=0.4, seeds=3, between_seeds=0.2)
    before = [ranking_of(ap, identity) for ap in aps]
    after = [ranking_of(ap + 0.01, identity) for ap in aps]
    paired = differences_of_seeds(before, after, samples=300, seed=0)["mAP"]
    assert (paired.low, paired.high) == pytest.approx((0.01, 0.01))
    assert paired.share_not_above_zero == 0
    apart = differences_of_seeds(before, after[:2], samples=300, seed=0)["mAP"]
    assert apart.high - apart.low > 0.1
    none = differences_of_seeds(before, before, samples=300, seed=0)["mAP"]
    assert (none.delta, none.share_not_above_zero) == (0, 1)


def test_other_numbers_of_seeds_agree_with_a_slow_bootstrap():
    rng = np.random.default_rng(5)
    identity = np.repeat(np.arange(25), 3)
    old = noisy_seeds(rng, identity, mean=0.4, seeds=2, between_seeds=0.05)
    new = noisy_seeds(rng, identity, mean=0.5, seeds=3, between_seeds=0.05)
    rankings = [[ranking_of(ap, identity) for ap in aps] for aps in (old, new)]
    found = differences_of_seeds(*rankings, samples=4000, seed=0)["mAP"]
    assert found.gains == ()
    assert found.delta == pytest.approx(np.mean(new) - np.mean(old))
    gains = []
    for _ in range(4000):
        rows = np.concatenate([np.flatnonzero(identity == p) for p in rng.integers(25, size=25)])
        drawn = [np.mean([aps[s][rows].mean() for s in rng.integers(len(aps), size=len(aps))]) for aps in (old, new)]
        gains.append(drawn[1] - drawn[0])
    assert (found.low, found.high) == pytest.approx(np.percentile(gains, [2.5, 97.5]), abs=0.01)


def test_queries_without_match_do_not_count():
    ap = np.random.default_rng(0).random(30)
    ranking = ranking_of(ap, np.arange(30) // 3)
    longer = ranking_of([*ap, np.nan], [*(np.arange(30) // 3), 99])
    longer.valid_Q[-1] = False
    assert score_seeds([longer] * 2, samples=50, seed=0) == score_seeds([ranking] * 2, samples=50, seed=0)


def test_refuses_what_cannot_be_compared():
    one = ranking_of([0.1, 0.2], [0, 1])
    for other in (ranking_of([0.1, 0.2], [0, 2]), ranking_of([0.1, 0.2], [0, 1], "sc"), ranking_of([0.1], [0])):
        with pytest.raises(DataError, match="not of the same queries"):
            score_seeds([one, other], samples=10, seed=0)
        for before, after in (([one], [other]), ([one, other], [one, one]), ([one], [one, other])):
            with pytest.raises(DataError, match="not of the same queries"):
                differences_of_seeds(before, after, samples=10, seed=0)
    with pytest.raises(DataError, match="all of one identity"):
        differences_of_seeds([ranking_of([0.1], [0])], [ranking_of([0.1], [0])], samples=10, seed=0)
    with pytest.raises(ValueError, match="no ranking"):
        score_seeds([], samples=10, seed=0)
    with pytest.raises(ValueError, match="samples is 0"):
        differences_of_seeds([one], [one], samples=0, seed=0)
