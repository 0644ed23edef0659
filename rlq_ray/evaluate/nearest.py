"""The nearest gallery images of each query, for pictures of a ranking."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rlq_ray.evaluate.protocols import BoolArray, GalleryProtocol, IntArray, Labels, protocol_named
from rlq_ray.evaluate.ranking import OwnImages
from rlq_ray.evaluate.similarity import check_pair, similarity_rows


def top_k(
    query_feat_QD: npt.NDArray[np.generic],
    gallery_feat_GD: npt.NDArray[np.generic],
    query: Labels,
    gallery: Labels,
    protocol: str | GalleryProtocol,
    k: int,
) -> tuple[IntArray, BoolArray]:
    """Find each query's k nearest gallery images `(Q, K)`, nearest first, and which of them are matches `(Q, K)`.

    Images that the protocol drops are skipped; where fewer than k remain, the index is −1.

    Raises:
        DataError: features and labels do not fit each other, or a feature is not finite.
    """
    check_pair(query_feat_QD, gallery_feat_GD, len(query), len(gallery))
    rule = protocol_named(protocol)
    own = OwnImages(query, gallery)
    index_QK = np.full((len(query), k), -1, dtype=np.int64)
    correct_QK = np.zeros((len(query), k), dtype=bool)
    for row, similarity_G in similarity_rows(query_feat_QD, gallery_feat_GD):
        own_rows = own[row]
        match = rule.matches(query, row, gallery, own_rows)
        similarity_G[own_rows[~match]] = -np.inf
        size = min(k, len(gallery) - int((~match).sum()))
        if size == 0:
            continue
        threshold = np.partition(similarity_G, len(gallery) - size)[len(gallery) - size]
        contenders = np.flatnonzero(similarity_G >= threshold)
        nearest = contenders[np.argsort(-similarity_G[contenders], kind="stable")][:size]
        index_QK[row, :size] = nearest
        correct_QK[row, :size] = np.isin(nearest, own_rows[match])
    return index_QK, correct_QK
