"""A method trained with several seeds: its mean score, how far seeds scatter, and what it gains on another method.

Every seed ranks the same queries, so seeds and identities are crossed. Both are drawn with replacement, each on its
own, and a resample is the mean over the seeds drawn of their means over the queries of the identities drawn (Davison &
Hinkley, Bootstrap Methods and their Application, 1997, section 3.8; Owen, The Pigeonhole Bootstrap, Annals of Applied
Statistics 1(2), 2007). With n seeds the resamples show (n − 1)/n of the variance between seeds, so with two or three
an interval says too little of it: report the standard deviation beside. With one seed the interval is of the identities
alone, and says nothing of another training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlq_ray.evaluate.intervals import (
    Difference,
    Interval,
    check_same_queries,
    compared_identities,
    differences_from_means,
    interval_ends,
    resampled_means,
)
from rlq_ray.evaluate.protocols import IntArray
from rlq_ray.evaluate.ranking import FloatArray, Ranking
from rlq_ray.evaluate.scores import per_query_scores


@dataclass(frozen=True)
class SeedScores:
    """One metric of a method, as fractions.

    `values` are those of each seed; `deviation` is their sample standard deviation, with n − 1, and None for one seed;
    `interval` is that of `mean`, and None where there was nothing to resample.
    """

    values: tuple[float, ...]
    mean: float
    deviation: float | None
    interval: Interval | None

    def percent(self) -> str:
        """Write the mean in percent, with deviation and interval where there are: `41.3 ± 0.8 (39.9–42.6)`."""
        text = f"{100 * self.mean:.1f}"
        if self.deviation is not None:
            text += f" ± {100 * self.deviation:.1f}"
        if self.interval is not None:
            text += f" ({100 * self.interval.low:.1f}–{100 * self.interval.high:.1f})"
        return text


def score_seeds(rankings: Sequence[Ranking], *, samples: int, seed: int) -> dict[str, SeedScores]:
    """Summarise mAP, mINP and top1…top20 of one method, given one ranking per training seed.

    No intervals if `samples` is 0 or the queries with a match are of one identity.

    Raises:
        DataError: the rankings are of other queries or another protocol, or no query has a match.
        ValueError: there is no ranking.
    """
    names, score_QNM = _scores(rankings)
    identity_Q = rankings[0].query_identity_Q[rankings[0].valid_Q]
    value_NM = score_QNM.mean(axis=0)
    intervals: list[Interval] | list[None] = [None] * len(names)
    if samples and len(np.unique(identity_Q)) > 1:
        mean_SNM = _means_of_seeds(score_QNM, identity_Q, samples, seed)
        intervals = interval_ends(_mean_of_drawn_seeds(mean_SNM, _seed_generator(seed)))
    return {
        name: SeedScores(
            values=tuple(value_N.tolist()),
            mean=float(value_N.mean()),
            deviation=float(value_N.std(ddof=1)) if len(rankings) > 1 else None,
            interval=interval,
        )
        for name, value_N, interval in zip(names, value_NM.T, intervals, strict=True)
    }


def differences_of_seeds(
    before: Sequence[Ranking], after: Sequence[Ranking], *, samples: int, seed: int
) -> dict[str, Difference]:
    """Compare the means over seeds of two methods, metric by metric, each identity drawn for both at once.

    Where both have as many seeds, the n-th of one is paired with the n-th of the other and pairs are drawn: trainings
    of one seed see their data in one order, and what that does to both cancels; if it does nothing, pairs are drawn as
    independently as single seeds. Otherwise the seeds of each are drawn on their own, and no `gains` are given.

    Raises:
        DataError: the rankings are of other queries or another protocol, or hold matches of one identity only.
        ValueError: `samples` is below 1, or there is no ranking.
    """
    if samples < 1:
        raise ValueError(f"samples is {samples}: a paired comparison needs at least 1")
    names, old_QNM = _scores(before)
    _, new_QNM = _scores(after)
    check_same_queries(before[0], after[0])
    identity_Q = compared_identities(before[0])
    old_NM, new_NM = old_QNM.mean(axis=0), new_QNM.mean(axis=0)
    delta = dict(zip(names, (new_NM.mean(axis=0) - old_NM.mean(axis=0)).tolist(), strict=True))
    generator = _seed_generator(seed)
    if len(before) == len(after):
        mean_SNM = _means_of_seeds(new_QNM - old_QNM, identity_Q, samples, seed)
        return differences_from_means(delta, _mean_of_drawn_seeds(mean_SNM, generator), new_NM - old_NM)
    both_SNM = _means_of_seeds(np.concatenate([old_QNM, new_QNM], axis=1), identity_Q, samples, seed)
    old_SNM, new_SNM = np.split(both_SNM, [len(before)], axis=1)
    gain_SM = _mean_of_drawn_seeds(new_SNM, generator) - _mean_of_drawn_seeds(old_SNM, generator)
    return differences_from_means(delta, gain_SM)


def _scores(rankings: Sequence[Ranking]) -> tuple[list[str], FloatArray]:
    """Give the metrics' names and the scores `(Q, N, M)` of Q queries with a match, N seeds and M metrics."""
    if not rankings:
        raise ValueError("there is no ranking: a method needs at least one seed")
    for other in rankings[1:]:
        check_same_queries(rankings[0], other)
    by_seed = [per_query_scores(ranking) for ranking in rankings]
    return list(by_seed[0]), np.stack([np.stack(list(scores.values()), axis=1) for scores in by_seed], axis=1)


def _means_of_seeds(value_QNM: FloatArray, identity_Q: IntArray, samples: int, seed: int) -> FloatArray:
    """Resample the identities, the same ones for every seed: `(samples, N, M)`."""
    queries, seeds, metrics = value_QNM.shape
    mean_SK = resampled_means(value_QNM.reshape(queries, seeds * metrics), identity_Q, samples, seed)
    return mean_SK.reshape(samples, seeds, metrics)


def _mean_of_drawn_seeds(value_SNM: FloatArray, generator: np.random.Generator) -> FloatArray:
    """Draw as many seeds as there are, with replacement, anew for every resample; their mean `(samples, M)`."""
    samples, seeds, _ = value_SNM.shape
    times_SN = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=samples)
    mean_SM: FloatArray = np.einsum("sn,snm->sm", times_SN / seeds, value_SNM)
    return mean_SM


def _seed_generator(seed: int) -> np.random.Generator:
    """Draws that have nothing to do with those of the identities."""
    return np.random.default_rng([seed, 1])
