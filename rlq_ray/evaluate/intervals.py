"""How sure a score is: 95 % intervals by resampling the query identities.

Queries of one identity stand and fall together, so identities are drawn, not queries (cluster bootstrap; Davison &
Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). Intervals are the percentiles 2.5 and 97.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rlq_ray.errors import DataError
from rlq_ray.evaluate.protocols import IntArray
from rlq_ray.evaluate.ranking import FloatArray, Ranking
from rlq_ray.evaluate.scores import per_query_scores

_PERCENTILES = (2.5, 97.5)
_DRAWS_AT_A_TIME = 64


@dataclass(frozen=True)
class Interval:
    """Ends of a 95 % interval, as fractions."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A score's gain over another's on the same queries, as fractions, with its 95 % interval.

    `share_not_above_zero` of the resamples show no gain: small when the gain is sure.
    """

    delta: float
    low: float
    high: float
    share_not_above_zero: float


def _resampled_means(value_QM: FloatArray, identity_Q: IntArray, samples: int, seed: int) -> FloatArray:
    """Draw as many identities as there are, with replacement; mean over the queries of those drawn: `(samples, M)`."""
    identities, member_Q = np.unique(identity_Q, return_inverse=True)
    size_P = np.bincount(member_Q).astype(np.float64)
    sum_PM = np.stack([np.bincount(member_Q, weights=column) for column in value_QM.T], axis=1)
    rng = np.random.default_rng(seed)
    share_P = np.full(len(identities), 1 / len(identities))
    means = []
    for start in range(0, samples, _DRAWS_AT_A_TIME):
        times_SP = rng.multinomial(len(identities), share_P, size=min(_DRAWS_AT_A_TIME, samples - start))
        means.append((times_SP @ sum_PM) / (times_SP @ size_P)[:, None])
    return np.concatenate(means)


def score_intervals(ranking: Ranking, *, samples: int, seed: int) -> dict[str, Interval]:
    """Give the 95 % interval of mAP, mINP and top1…top20.

    Empty where there is nothing to resample: `samples` is 0, or the queries with a match are of one identity.

    Raises:
        DataError: no query has a match.
    """
    scores = per_query_scores(ranking)
    identity_Q = ranking.query_identity_Q[ranking.valid_Q]
    if samples == 0 or len(np.unique(identity_Q)) == 1:
        return {}
    means = _resampled_means(np.stack(list(scores.values()), axis=1), identity_Q, samples, seed)
    ends = np.percentile(means, _PERCENTILES, axis=0)
    return {name: Interval(float(low), float(high)) for name, low, high in zip(scores, *ends, strict=True)}


def differences(before: Ranking, after: Ranking, *, samples: int, seed: int) -> dict[str, Difference]:
    """Compare two rankings of the same queries, metric by metric, each identity drawn for both at once.

    Raises:
        DataError: the rankings are of other queries or another protocol, or hold matches of one identity only.
        ValueError: `samples` is below 1.
    """
    if samples < 1:
        raise ValueError(f"samples is {samples}: a paired comparison needs at least 1")
    same = before.protocol == after.protocol and np.array_equal(before.query_identity_Q, after.query_identity_Q)
    if not same or not np.array_equal(before.match_count_Q, after.match_count_Q):
        raise DataError(
            f"rankings of {len(before)} queries under '{before.protocol}' and {len(after)} under '{after.protocol}' "
            "are not of the same queries and gallery: evaluate both models on the same data and protocol"
        )
    old, new = per_query_scores(before), per_query_scores(after)
    identity_Q = before.query_identity_Q[before.valid_Q]
    if len(np.unique(identity_Q)) == 1:
        raise DataError("the queries with a match are all of one identity: a comparison needs at least two")
    gain_QM = np.stack([new[name] - old[name] for name in old], axis=1)
    means = _resampled_means(gain_QM, identity_Q, samples, seed)
    ends = np.percentile(means, _PERCENTILES, axis=0)
    share = (means <= 0).mean(axis=0)
    return {
        name: Difference(float(gain), float(low), float(high), float(rest))
        for name, gain, low, high, rest in zip(old, gain_QM.mean(axis=0), *ends, share, strict=True)
    }
