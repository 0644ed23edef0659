"""Means, intervals and survivors over seeds are those of formulas by hand and of numpy's least squares."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from scipy import stats

from tuning.seeds import SeedModel, pareto_front, places, survivors

BALANCED = {
    0: {0: 0.30, 1: 0.34, 2: 0.29},
    1: {0: 0.41, 1: 0.44, 2: 0.41},
    2: {0: 0.35, 1: 0.37, 2: 0.30},
    3: {0: 0.36, 1: 0.38, 2: 0.31},
}
UNEQUAL = {0: {0: 0.30, 1: 0.34, 2: 0.29}, 4: {0: 0.41, 1: 0.44}, 7: {0: 0.35}, 9: {0: 0.33, 1: 0.35, 2: 0.31}}


def least_squares(scores: dict[int, dict[int, float]]) -> tuple[dict[int, float], dict[int, float], float, int]:
    """Fit by `lstsq` with the first seed's effect held at zero: means, standard errors of them, deviation, degrees."""
    numbers, seeds = list(scores), sorted({seed for own in scores.values() for seed in own})
    rows, observed = [], []
    for number, own in scores.items():
        for seed, score in own.items():
            row = [float(number == other) for other in numbers] + [float(seed == other) for other in seeds[1:]]
            rows.append(row)
            observed.append(score)
    design = np.array(rows)
    effects, squares, rank, _ = np.linalg.lstsq(design, np.array(observed), rcond=None)
    degrees = len(observed) - int(rank)
    deviation = math.sqrt(float(squares[0]) / degrees)
    covariance = deviation**2 * np.linalg.inv(design.T @ design)
    means, errors = {}, {}
    for row, number in enumerate(numbers):
        contrast = np.array(
            [float(place == row) for place in range(len(numbers))] + [1 / len(seeds)] * (len(seeds) - 1)
        )
        means[number], errors[number] = float(contrast @ effects), math.sqrt(contrast @ covariance @ contrast)
    return means, errors, deviation, degrees


def test_a_balanced_layout_is_that_of_the_textbook() -> None:
    """Two-way layout without replication: residuals, and the error of a mean of three seeds (Box et al., chapter 4)."""
    model = SeedModel.fit(BALANCED)
    table = np.array([list(own.values()) for own in BALANCED.values()])
    rest = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
    deviation = math.sqrt((rest**2).sum() / 6)
    assert model.degrees == (4 - 1) * (3 - 1)
    assert model.deviation == pytest.approx(deviation)
    for number, own in BALANCED.items():
        mean, error = statistics.fmean(own.values()), deviation / math.sqrt(3)
        assert model.mean(number) == pytest.approx(mean)
        assert model.lower_bound(number, 0.95) == pytest.approx(mean - stats.t.ppf(0.95, 6) * error)
        half = stats.t.ppf(0.975, 6) * error
        assert model.interval(number, 0.95) == pytest.approx((mean - half, mean + half))


def test_unequal_seeds_are_fitted_as_numpy_does() -> None:
    model = SeedModel.fit(UNEQUAL)
    means, errors, deviation, degrees = least_squares(UNEQUAL)
    assert (model.degrees, model.deviation) == (degrees, pytest.approx(deviation))
    for number in UNEQUAL:
        assert model.mean(number) == pytest.approx(means[number])
        bound = means[number] - stats.t.ppf(0.9, degrees) * errors[number]
        assert model.lower_bound(number, 0.9) == pytest.approx(bound)


def test_a_seed_that_is_good_to_all_flatters_nobody() -> None:
    """Without a rest, a configuration's missing seed is known from what it did to the others."""
    scores = {
        number: {seed: 0.2 + 0.1 * number + (0.05 if seed == 0 else -0.03) for seed in (0, 1)} for number in (0, 1)
    }
    scores[2] = {0: 0.2 + 0.1 * 2 + 0.05}
    assert SeedModel.fit(scores).mean(2) == pytest.approx(0.4 + (0.05 - 0.03) / 2)


@pytest.mark.parametrize(
    "scores",
    [
        {0: {0: 0.3}},
        {0: {0: 0.3, 1: 0.4, 2: 0.2}},
        {0: {0: 0.3}, 1: {0: 0.4}, 2: {0: 0.1}},
        {0: {0: 0.3, 1: 0.4}, 1: {0: 0.2}, 2: {}},
    ],
)
def test_nobody_knows_the_rest_without_two_configurations_that_share_two_seeds(scores: dict) -> None:
    model = SeedModel.fit(scores)
    assert (model.degrees, model.deviation) == (0, None)
    assert model.mean(0) == pytest.approx(statistics.fmean(scores[0].values()))
    assert model.lower_bound(0, 0.95) == pytest.approx(model.mean(0))
    assert model.interval(0, 0.95) is None
    if 1 in scores:
        assert model.is_indistinguishable(0, 1, 0.95)


def test_nothing_can_be_fitted_and_has_no_deviation() -> None:
    assert SeedModel.fit({}).deviation is None
    assert SeedModel.fit({3: {}}).degrees == 0


def test_two_means_are_told_apart_by_the_error_of_their_difference() -> None:
    model = SeedModel.fit(BALANCED)
    assert model.deviation is not None
    gap = model.mean(1) - model.mean(0)
    error = model.deviation * math.sqrt(2 / 3)
    needed = 2 * stats.t.cdf(gap / error, 6) - 1  # the confidence at which the interval just touches zero
    assert not model.is_indistinguishable(0, 1, needed - 1e-4)
    assert model.is_indistinguishable(0, 1, needed + 1e-5)
    assert model.is_indistinguishable(1, 1, 0.95)
    assert model.is_indistinguishable(2, 3, 0.95) == model.is_indistinguishable(3, 2, 0.95)


def test_configurations_that_score_alike_are_not_told_apart_by_rounding() -> None:
    scores = {number: {seed: 0.1 * (seed + 1) for seed in range(3)} for number in range(7)}
    model = SeedModel.fit(scores)
    assert model.deviation == 0
    assert all(model.is_indistinguishable(one, other, 0.6) for one in scores for other in scores)
    assert len({model.lower_bound(number, 0.95) for number in scores}) == 1
    assert not SeedModel.fit(scores | {9: {0: 0.2, 1: 0.3, 2: 0.4}}).is_indistinguishable(0, 9, 0.95)


def test_an_interval_stays_among_fractions() -> None:
    low, high = SeedModel.fit({0: {0: 0.0, 1: 0.9}, 1: {0: 0.95, 1: 1.0}}).interval(0, 0.95) or (-1, 2)
    assert (low, high) == (0, 1)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Configurations with three, two and one seed, whose effects, seeds and rests are drawn."""
    rng = np.random.default_rng(0)
    held = {0: 0, 2: 0, 4: 0}
    for _ in range(400):
        own, by_seed = rng.normal(0.4, 0.05, 5), rng.normal(0, 0.02, 3)
        seeds = (3, 3, 2, 2, 1)
        scores = {n: {s: own[n] + by_seed[s] + rng.normal(0, 0.01) for s in range(seeds[n])} for n in range(5)}
        model = SeedModel.fit(scores)
        for number in held:
            low, high = model.interval(number, 0.95) or (0, 0)
            held[number] += low <= own[number] + by_seed.mean() <= high
    assert all(0.9 <= count / 400 <= 0.99 for count in held.values()), held


def test_the_best_survive_and_of_equals_the_earlier() -> None:
    means = {0: (0.3,), 1: (0.5,), 2: (0.5,), 3: (0.1,), 4: (0.4,)}
    assert survivors(means, 0.6, 5) == [1, 2, 4]
    assert survivors(means, 0.2, 5) == [1, 2], "two at least"
    assert survivors({1: (0.5,)}, 1, 5) == [1]
    assert survivors({}, 0.5, 5) == []


def test_the_share_is_of_all_members_rounded_up() -> None:
    means = {number: (number / 100,) for number in range(100)}
    assert [places(0.5, members) for members in (1, 4, 5, 16)] == [2, 2, 3, 8]
    assert len(survivors(means, 0.55, 100)) == 55, "not a 56th by rounding"
    assert len(survivors({number: means[number] for number in range(30)}, 0.5, 100)) == 30


def test_the_front_of_two_objectives_survives_before_the_others() -> None:
    means = {0: (0.5, 0.1), 1: (0.49, 0.09), 2: (0.2, 0.9), 3: (0.3, 0.5), 4: (0.1, 0.1)}
    assert pareto_front(means) == {0, 2, 3}
    assert survivors(means, 0.6, 5) == [0, 3, 2]
    assert survivors(means, 0.8, 5) == [0, 3, 2, 1]


def test_a_pareto_front_keeps_equals_and_drops_what_one_dominates() -> None:
    assert pareto_front({0: (0.5, 0.5), 1: (0.5, 0.5), 2: (0.5, 0.4)}) == {0, 1}
    assert pareto_front({0: (0.1,), 1: (0.2,)}) == {1}
    assert pareto_front({}) == set()
