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
from scipy.special import stdtrit  # quantiles of Student's t; scipy.stats takes a second to import

Array = npt.NDArray[np.float64]
Scores = Mapping[int, Mapping[int, float]]
"""Scores, as fractions, by configuration and seed."""
DIGITS = 12
"""To which results are rounded, so that equal scores tie instead of being ordered by the last bit."""


@dataclass(frozen=True)
class SeedModel:
    """What configurations score over all seeds of a sweep, and how sure that is.

    `deviation` is that of the rest; None as long as no two configurations share two seeds. Configurations are
    eliminated from the normal equations, so that a fit takes time in proportion to the trainings.
    """

    deviation: float | None
    degrees: int
    _place: Mapping[int, int] = field(repr=False)
    _mean_P: Array = field(repr=False)
    """Estimated means over all seeds."""
    _times_P: Array = field(repr=False)
    """Scores of each configuration."""
    _away_PS: Array = field(repr=False)
    """Share of its scores that a configuration has of each seed, less that of an even one."""
    _inverse_SS: Array = field(repr=False)
    """Generalised inverse of the reduced equations of the seeds."""

    @classmethod
    def fit(cls, scores: Scores) -> SeedModel:
        """Fit the model; configurations without a score are left out."""
        own = {number: by_seed for number, by_seed in scores.items() if by_seed}
        seeds = sorted({seed for by_seed in own.values() for seed in by_seed})
        score_PS = np.array([[by_seed.get(seed, np.nan) for seed in seeds] for by_seed in own.values()])
        score_PS = score_PS.reshape(len(own), len(seeds))
        has_PS = ~np.isnan(score_PS)
        known_PS = np.where(has_PS, score_PS, 0.0)
        times_P = has_PS.sum(axis=1).astype(np.float64)
        share_PS = has_PS / times_P[:, None]
        reduced_SS = np.diag(has_PS.sum(axis=0).astype(np.float64)) - has_PS.T @ share_PS
        inverse_SS = np.asarray(np.linalg.pinv(reduced_SS), np.float64)
        effect_S = inverse_SS @ (known_PS.sum(axis=0) - share_PS.T @ known_PS.sum(axis=1))
        effect_S -= effect_S.mean() if seeds else 0.0
        mean_P = (known_PS.sum(axis=1) - has_PS @ effect_S) / times_P
        rest_PS = np.where(has_PS, score_PS - mean_P[:, None] - effect_S, 0.0)
        degrees = int(times_P.sum()) - len(own) - int(np.linalg.matrix_rank(reduced_SS)) if own else 0
        deviation = round(math.sqrt(float((rest_PS**2).sum()) / degrees), DIGITS) if degrees else None
        place = {number: row for row, number in enumerate(own)}
        away_PS = share_PS - 1 / max(1, len(seeds))
        return cls(deviation, degrees, place, mean_P.round(DIGITS), times_P, away_PS, inverse_SS)

    def mean(self, number: int) -> float:
        """Estimate a configuration's mean over all seeds, those that it lacks by what they did to others."""
        return float(self._mean_P[self._place[number]])

    def lower_bound(self, number: int, confidence: float) -> float:
        """Give what a configuration's mean exceeds with a confidence; the mean while nobody knows better."""
        return round(self.mean(number) - self._half(self._variance(number), confidence), DIGITS)

    def interval(self, number: int, confidence: float) -> tuple[float, float] | None:
        """Give the two-sided interval of a configuration's mean; None while nobody knows."""
        if self.deviation is None:
            return None
        mean, half = self.mean(number), self._half(self._variance(number), (1 + confidence) / 2)
        return max(0.0, mean - half), min(1.0, mean + half)

    def is_indistinguishable(self, one: int, other: int, confidence: float) -> bool:
        """Tell whether the difference of two means may be chance: its two-sided interval holds zero.

        It is a statement on one pair: of twenty as good as the best, one is wrongly told apart at 95 %.
        """
        if self.deviation is None or one == other:
            return True
        a, b = self._place[one], self._place[other]
        away_S = self._away_PS[a] - self._away_PS[b]
        variance = 1 / self._times_P[a] + 1 / self._times_P[b] + away_S @ self._inverse_SS @ away_S
        return abs(self.mean(one) - self.mean(other)) <= self._half(float(variance), (1 + confidence) / 2)

    def _variance(self, number: int) -> float:
        """Give the variance of a configuration's mean, in units of the rest's."""
        away_S = self._away_PS[self._place[number]]
        return float(1 / self._times_P[self._place[number]] + away_S @ self._inverse_SS @ away_S)

    def _half(self, variance: float, quantile: float) -> float:
        if self.deviation is None:
            return 0.0
        return float(stdtrit(self.degrees, quantile)) * self.deviation * math.sqrt(max(0.0, variance))


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
