"""How sure a score is: 95 % intervals by resampling the query identities.

Queries of one identity stand and fall together, so identities are drawn, not queries (cluster bootstrap; Davison &
Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). Intervals are the percentiles 2.5 and 97.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rlq_ray.errors import DataError
from rlq_ray.evaluate.protocols import IntArray
from rlq_ray.evaluate.ranking import FloatArray, Ranking
from rlq_ray.evaluate.scores import per_query_scores

BOOTSTRAP_SEED = 0
"""Of every interval that is reported, so that the same scores have the same one."""

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

    `share_not_above_zero` of the resamples show no gain: small when the gain is sure. `gains` are those of each pair of
    seeds, whose mean is `delta`; empty where seeds are not paired.
    """

    delta: float
    low: float
    high: float
    share_not_above_zero: float
    gains: tuple[float, ...] = ()


def resampled_means(value_QM: FloatArray, identity_Q: IntArray, samples: int, seed: int) -> FloatArray:
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
    means = resampled_means(np.stack(list(scores.values()), axis=1), identity_Q, samples, seed)
    return dict(zip(scores, interval_ends(means), strict=True))


def interval_ends(mean_SM: FloatArray) -> list[Interval]:
    """Read the interval of each of M metrics off its resampled means `(samples, M)`."""
    return [Interval(*ends) for ends in np.percentile(mean_SM, _PERCENTILES, axis=0).T.tolist()]


def check_same_queries(one: Ranking, other: Ranking) -> None:
    """Refuse two rankings that cannot be compared.

    Raises:
        DataError: they are of other queries or another protocol.
    """
    same = one.protocol == other.protocol and np.array_equal(one.query_identity_Q, other.query_identity_Q)
    if not same or not np.array_equal(one.match_count_Q, other.match_count_Q):
        raise DataError(
            f"rankings of {len(one)} queries under '{one.protocol}' and {len(other)} under '{other.protocol}' "
            "are not of the same queries and gallery: evaluate both models on the same data and protocol"
        )


def compared_identities(ranking: Ranking) -> IntArray:
    """Give the identity of every query that has a match, in order.

    Raises:
        DataError: they are all the same, so that there is nothing to resample.
    """
    identity_Q = ranking.query_identity_Q[ranking.valid_Q]
    if len(np.unique(identity_Q)) == 1:
        raise DataError("the queries with a match are all of one identity: a comparison needs at least two")
    return identity_Q


def differences_from_means(
    delta: Mapping[str, float], mean_SM: FloatArray, gain_NM: FloatArray | None = None
) -> dict[str, Difference]:
    """Read interval and share off the resampled gains `(samples, M)`, metrics in the order of `delta`.

    `gain_NM` are the gains of N pairs of seeds, where there are.
    """
    share_M = (mean_SM <= 0).mean(axis=0).tolist()
    gains_M = [()] * len(delta) if gain_NM is None else [tuple(gains) for gains in gain_NM.T.tolist()]
    return {
        name: Difference(gain, ends.low, ends.high, share, gains)
        for (name, gain), ends, share, gains in zip(
            delta.items(), interval_ends(mean_SM), share_M, gains_M, strict=True
        )
    }


def differences(before: Ranking, after: Ranking, *, samples: int, seed: int) -> dict[str, Difference]:
    """Compare two rankings of the same queries, metric by metric, each identity drawn for both at once.

    Raises:
        DataError: the rankings are of other queries or another protocol, or hold matches of one identity only.
        ValueError: `samples` is below 1.
    """
    if samples < 1:
        raise ValueError(f"samples is {samples}: a paired comparison needs at least 1")
    check_same_queries(before, after)
    old, new = per_query_scores(before), per_query_scores(after)
    identity_Q = compared_identities(before)
    gain_QM = np.stack([new[name] - old[name] for name in old], axis=1)
    means = resampled_means(gain_QM, identity_Q, samples, seed)
    delta = dict(zip(old, gain_QM.mean(axis=0).tolist(), strict=True))
    return differences_from_means(delta, means)
