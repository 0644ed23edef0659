"""Seeds as an axis of a sweep: how sure a configuration's score is, and which are worth another seed. Pure.

Seeds are blocks: a score is taken for the sum of what the configuration does, what the seed does to every
configuration, and a rest (Box, Hunter & Hunter, Statistics for Experimenters, 2nd edition, 2005, chapter 4). Fitted by
least squares over all that was trained, that compares configurations that have not been trained with the same seeds,
and what seeds do to all alike does not count as doubt. The rest's deviation is one for all configurations, so few seeds
of each are enough to know it; bounds follow from Student's t with the degrees of freedom that are left. A configuration
that scatters more than others does not fit that, and shows as such by the states of its trainings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

Scores = Mapping[int, Mapping[int, float]]
"""Scores, as fractions, by configuration and seed."""
DIGITS = 12
"""To which results are rounded, so that equal scores tie instead of being ordered by the last bit."""


@dataclass(frozen=True)
class SeedModel:
    """What configurations score over all seeds of a sweep, and how sure that is.

    `deviation` is that of the rest; None as long as no two configurations share two seeds.
    """

    deviation: float | None
    degrees: int
    _place: Mapping[int, int] = field(repr=False)
    _effects: npt.NDArray[np.float64] = field(repr=False)
    _inverse: npt.NDArray[np.float64] = field(repr=False)

    @classmethod
    def fit(cls, scores: Scores) -> SeedModel:
        """Fit the model; configurations without a score are left out."""
        own = {number: by_seed for number, by_seed in scores.items() if by_seed}
        place = {number: row for row, number in enumerate(own)}
        seeds = sorted({seed for by_seed in own.values() for seed in by_seed})
        observed = [(number, seed, score) for number, by_seed in own.items() for seed, score in by_seed.items()]
        design = np.zeros((len(observed), len(own) + len(seeds)))
        for row, (number, seed, _) in enumerate(observed):
            design[row, place[number]] = 1
            design[row, len(own) + seeds.index(seed)] = 1
        score_N = np.array([score for _, _, score in observed])
        inverse = np.asarray(np.linalg.pinv(design.T @ design), np.float64)
        effects = np.asarray(inverse @ design.T @ score_N, np.float64).round(DIGITS)
        degrees = len(observed) - int(np.linalg.matrix_rank(design)) if observed else 0
        squares = float(((score_N - design @ effects) ** 2).sum())
        deviation = round(math.sqrt(squares / degrees), DIGITS) if degrees else None
        return cls(deviation, degrees, place, effects, inverse)

    def mean(self, number: int) -> float:
        """Estimate a configuration's mean over all seeds, those that it lacks by what they did to others."""
        return float(self._over_seeds(number) @ self._effects)

    def lower_bound(self, number: int, confidence: float) -> float:
        """Give what a configuration's mean exceeds with a confidence; the mean while nobody knows better."""
        return round(self.mean(number) - self._half(self._over_seeds(number), confidence), DIGITS)

    def interval(self, number: int, confidence: float) -> tuple[float, float] | None:
        """Give the two-sided interval of a configuration's mean; None while nobody knows."""
        if self.deviation is None:
            return None
        mean, half = self.mean(number), self._half(self._over_seeds(number), (1 + confidence) / 2)
        return max(0.0, mean - half), min(1.0, mean + half)

    def is_indistinguishable(self, one: int, other: int, confidence: float) -> bool:
        """Tell whether the difference of two means may be chance: its two-sided interval holds zero.

        It is a statement on one pair: of twenty as good as the best, one is wrongly told apart at 95 %.
        """
        if self.deviation is None:
            return True
        contrast = self._over_seeds(one) - self._over_seeds(other)
        return abs(float(contrast @ self._effects)) <= self._half(contrast, (1 + confidence) / 2)

    def _over_seeds(self, number: int) -> npt.NDArray[np.float64]:
        contrast = np.zeros(len(self._effects))
        contrast[self._place[number]] = 1
        seeds = len(self._effects) - len(self._place)
        contrast[len(self._place) :] = 1 / seeds
        return contrast

    def _half(self, contrast: npt.NDArray[np.float64], quantile: float) -> float:
        if self.deviation is None:
            return 0.0
        variance = float(contrast @ self._inverse @ contrast)
        return float(student.ppf(quantile, self.degrees)) * self.deviation * math.sqrt(max(0.0, variance))


def survivors(means: Mapping[int, Sequence[float]], share: float, members: int) -> list[int]:
    """Choose the configurations of a round that get another seed: the Pareto front, then by the first objective.

    All of a round have as many seeds, so their means and their bounds are in the same order.

    Args:
        means: of every objective, of the configurations that finished the round.
        share: of the round's members that go on, two at least so that there is something to compare.
        members: configurations in the round, those that ended early too.
    """
    front = pareto_front(means)
    order = sorted(means, key=lambda number: (number not in front, -means[number][0], number))
    return order[: places(share, members)]


def places(share: float, members: int) -> int:
    """Count the configurations of a round that go on at most: a share, rounded up, but two at least."""
    return max(2, math.ceil(round(share * members, 9)))  # 0.55 · 100 is a little more than 55


def pareto_front(scores: Mapping[int, Sequence[float]]) -> set[int]:
    """Choose the configurations that no other one equals or exceeds in every objective and exceeds in one."""

    def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
        pairs = list(zip(one, other, strict=True))
        return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)

    return {number for number, own in scores.items() if not any(dominates(other, own) for other in scores.values())}
