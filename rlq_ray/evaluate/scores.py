"""Scores of a ranking: mAP, mINP and CMC, beside what chance would score.

All are fractions in 0…1, means over the queries that have a match; the others are left out and counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rlq_ray.errors import DataError
from rlq_ray.evaluate.protocols import GalleryProtocol, IntArray, Labels, protocol_named
from rlq_ray.evaluate.ranking import FloatArray, OwnImages, Ranking

CMC_RANKS = (1, 5, 10, 20)
"""Ranks at which the CMC curve is reported."""

CMC_LENGTH = 50
"""Length of the CMC curve."""


@dataclass(frozen=True)
class Metrics:
    """Scores of one ranking, fractions in 0…1.

    `cmc_K[k − 1]` is the share of queries with a match among their k nearest. `queries` counted in the means,
    `queries_left_out` had no match. `chance_map` and `chance_top1` are a random order's expected scores.
    """

    protocol: str
    mean_ap: float
    mean_inp: float
    cmc_K: FloatArray
    queries: int
    queries_left_out: int
    chance_map: float
    chance_top1: float

    def top(self, k: int) -> float:
        """Give CMC at rank k, 1-based."""
        return float(self.cmc_K[k - 1])


def per_query_scores(ranking: Ranking) -> dict[str, FloatArray]:
    """Give the scores of the queries that have a match, by metric name; each metric is the mean of its array.

    Raises:
        DataError: no query has a match.
    """
    valid = ranking.valid_Q
    if not valid.any():
        raise DataError(
            f"protocol '{ranking.protocol}' leaves none of the {len(ranking)} queries a match in the gallery: "
            "choose another protocol, or check the camera and clothes labels"
        )
    hits = {f"top{k}": (ranking.first_rank_Q[valid] < k).astype(np.float64) for k in CMC_RANKS}
    return {"mAP": ranking.ap_Q[valid], "mINP": ranking.inp_Q[valid], **hits}


def metrics(ranking: Ranking) -> Metrics:
    """Average a ranking's scores over the queries that have a match.

    Raises:
        DataError: no query has a match.
    """
    scores = per_query_scores(ranking)
    valid = ranking.valid_Q
    hits_K = np.bincount(np.minimum(ranking.first_rank_Q[valid], CMC_LENGTH), minlength=CMC_LENGTH + 1)[:CMC_LENGTH]
    matches, candidates = ranking.match_count_Q[valid], ranking.candidate_count_Q[valid]
    return Metrics(
        protocol=ranking.protocol,
        mean_ap=float(scores["mAP"].mean()),
        mean_inp=float(scores["mINP"].mean()),
        cmc_K=hits_K.cumsum() / valid.sum(),
        queries=int(valid.sum()),
        queries_left_out=int((~valid).sum()),
        chance_map=float(chance_ap(matches, candidates).mean()),
        chance_top1=float((matches / candidates).mean()),
    )


def chance_ap(match_count_Q: npt.ArrayLike, candidate_count_Q: npt.ArrayLike) -> FloatArray:
    """Give the expected AP of a random order of N candidates with n ≥ 1 matches.

    Rank k holds a match with chance n/N, and then each of the k − 1 places before it with chance (n−1)/(N−1), so
    E[AP] = (1/N) Σₖ (1 + (k−1)(n−1)/(N−1)) / k = (H_N + (N − H_N)(n−1)/(N−1)) / N, H_N the N-th harmonic number.
    """
    n, total = np.asarray(match_count_Q, dtype=np.int64), np.asarray(candidate_count_Q, dtype=np.int64)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, total.max(initial=0) + 1))])[total]
    return (harmonic + (total - harmonic) * (n - 1) / np.maximum(total - 1, 1)) / total


def match_counts(query: Labels, gallery: Labels, protocol: str | GalleryProtocol) -> tuple[IntArray, IntArray]:
    """Count each query's matches, and the gallery images that stay in its ranking."""
    rule, own = protocol_named(protocol), OwnImages(query, gallery)
    matches = np.zeros(len(query), dtype=np.int64)
    candidates = np.zeros(len(query), dtype=np.int64)
    for row in range(len(query)):
        match = rule.matches(query, row, gallery, own[row])
        matches[row] = match.sum()
        candidates[row] = len(gallery) - len(match) + match.sum()
    return matches, candidates


def chance_map(query: Labels, gallery: Labels, protocol: str | GalleryProtocol) -> float:
    """Give the expected mAP of random orders, exactly.

    Raises:
        DataError: no query has a match.
    """
    matches, candidates = match_counts(query, gallery, protocol)
    if not matches.any():
        raise DataError(
            f"protocol '{protocol_named(protocol).name}' leaves none of the {len(query)} queries a match in the "
            "gallery: choose another protocol, or check the camera and clothes labels"
        )
    return float(chance_ap(matches[matches > 0], candidates[matches > 0]).mean())
