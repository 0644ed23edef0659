"""Where each query's matches stand in its ranking of the gallery: exact, in bounded memory.

Knows features and labels, neither networks nor files. Distance is −cosine. Equal distances keep the gallery's order,
so a network whose features have all collapsed to one point scores what that order is worth, not 1.

A ranking is never written down. A match's rank is the number of nearer images, and protocols drop images of the
query's own identity only; so the nearer images of other identities are counted once, for all protocols together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rlq_ray.errors import DataError
from rlq_ray.evaluate.protocols import BoolArray, GalleryProtocol, IntArray, Labels, protocol_named
from rlq_ray.evaluate.similarity import CHUNK_BYTES, FeatureArray, check_pair, similarity_rows

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """What became of every query under one protocol.

    `ap_Q` average precision, `inp_Q` inverse negative penalty, `first_rank_Q` 0-based rank of the nearest match;
    NaN, NaN and −1 where `valid_Q` is False: the query has no match. `match_count_Q` of the `candidate_count_Q`
    gallery images that stay in its ranking are matches.
    """

    protocol: str
    query_identity_Q: IntArray
    valid_Q: BoolArray
    ap_Q: FloatArray
    inp_Q: FloatArray
    first_rank_Q: IntArray
    match_count_Q: IntArray
    candidate_count_Q: IntArray

    def __len__(self) -> int:
        return len(self.valid_Q)


def _nearer_counts(similarity_G: FeatureArray, rows: IntArray) -> IntArray:
    """Count for each gallery image in `rows` those nearer to the query: more similar, or as similar and earlier."""
    similarity = similarity_G[rows]
    contenders = np.sort(similarity_G[similarity_G >= similarity.min()])
    right = np.searchsorted(contenders, similarity, side="right")
    nearer = contenders.size - right
    tied = right - np.searchsorted(contenders, similarity, side="left") > 1
    for value in np.unique(similarity[tied]):
        where = similarity == value
        nearer[where] += np.searchsorted(np.flatnonzero(similarity_G == value), rows[where])
    return nearer


class OwnImages:
    """The gallery images of each query's own identity, in the gallery's order.

    Raises:
        DataError: a query's identity is unknown.
    """

    def __init__(self, query: Labels, gallery: Labels) -> None:
        if (query.identity_N < 0).any():
            row = int((query.identity_N < 0).argmax())
            raise DataError(f"query image {row} has no identity: leave it out, nothing can match it")
        self._order = np.argsort(gallery.identity_N, kind="stable")
        identities = gallery.identity_N[self._order]
        self._left_Q = np.searchsorted(identities, query.identity_N, side="left")
        self._right_Q = np.searchsorted(identities, query.identity_N, side="right")

    def __getitem__(self, row: int) -> IntArray:
        return self._order[self._left_Q[row] : self._right_Q[row]]


def _empty_ranking(protocol: GalleryProtocol, query: Labels) -> Ranking:
    size = len(query)
    return Ranking(
        protocol=protocol.name,
        query_identity_Q=query.identity_N,
        valid_Q=np.zeros(size, dtype=bool),
        ap_Q=np.full(size, np.nan),
        inp_Q=np.full(size, np.nan),
        first_rank_Q=np.full(size, -1, dtype=np.int64),
        match_count_Q=np.zeros(size, dtype=np.int64),
        candidate_count_Q=np.zeros(size, dtype=np.int64),
    )


def _enter(ranking: Ranking, row: int, match_rank_M: IntArray) -> None:
    """Write one query's scores, from the ascending 0-based ranks of its matches, into the ranking's arrays."""
    count = len(match_rank_M)
    ranking.valid_Q[row] = True
    ranking.ap_Q[row] = (np.arange(1, count + 1) / (match_rank_M + 1)).mean()
    ranking.inp_Q[row] = count / (match_rank_M[-1] + 1)
    ranking.first_rank_Q[row] = match_rank_M[0]


def rank_protocols(
    query_feat_QD: npt.NDArray[np.generic],
    gallery_feat_GD: npt.NDArray[np.generic],
    query: Labels,
    gallery: Labels,
    protocols: Sequence[str | GalleryProtocol],
    *,
    chunk_bytes: int = CHUNK_BYTES,
) -> dict[str, Ranking]:
    """Rank the gallery for every query under several protocols, with one product of the features.

    AP of n matches at 0-based ranks r₁ < … < rₙ is (1/n) Σᵢ i / (rᵢ + 1), INP is n / (rₙ + 1) (Ye et al., TPAMI 2021).
    Compared are float32 cosines. Memory beyond the features: a normalised copy of the gallery's, and `chunk_bytes`.

    Raises:
        DataError: features and labels do not fit each other, or a feature is not finite.
    """
    check_pair(query_feat_QD, gallery_feat_GD, len(query), len(gallery))
    chosen = [protocol_named(p) for p in protocols]
    rankings = {p.name: _empty_ranking(p, query) for p in chosen}
    own = OwnImages(query, gallery)
    for row, similarity_G in similarity_rows(query_feat_QD, gallery_feat_GD, chunk_bytes):
        own_rows = own[row]
        # Stable, and own_rows ascend: nearest first, ties in the gallery's order.
        own_rows = own_rows[np.argsort(-similarity_G[own_rows], kind="stable")]
        matches = {p.name: p.matches(query, row, gallery, own_rows) for p in chosen}
        for name, match in matches.items():
            rankings[name].match_count_Q[row] = match.sum()
            rankings[name].candidate_count_Q[row] = len(gallery) - len(own_rows) + match.sum()
        used = np.flatnonzero(np.any(list(matches.values()), axis=0)) if matches else np.array([], dtype=np.int64)
        if used.size == 0:
            continue
        strangers = np.zeros(len(own_rows), dtype=np.int64)
        strangers[used] = _nearer_counts(similarity_G, own_rows[used]) - used
        for name, match in matches.items():
            if match.any():
                _enter(rankings[name], row, strangers[match] + np.arange(match.sum()))
    return rankings


def rank(
    query_feat_QD: npt.NDArray[np.generic],
    gallery_feat_GD: npt.NDArray[np.generic],
    query: Labels,
    gallery: Labels,
    protocol: str | GalleryProtocol,
    *,
    chunk_bytes: int = CHUNK_BYTES,
) -> Ranking:
    """Rank the gallery for every query under one protocol; see `rank_protocols`."""
    rankings = rank_protocols(query_feat_QD, gallery_feat_GD, query, gallery, [protocol], chunk_bytes=chunk_bytes)
    return rankings[protocol_named(protocol).name]
