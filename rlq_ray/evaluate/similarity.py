"""Cosines of queries with the gallery, a chunk of queries at a time, with exact ties.

Knows features only, neither labels nor protocols.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from rlq_ray.errors import DataError
from rlq_ray.evaluate.protocols import IntArray

FeatureArray = npt.NDArray[np.float32]

CHUNK_BYTES = 256 * 2**20
"""Bytes of similarities held at a time."""

_ROWS_HASHED_AT_A_TIME = 64


def check_features(name: str, feat_ND: npt.NDArray[np.generic], images: int) -> None:
    """Refuse features that cannot be ranked.

    Raises:
        DataError: not `(N, D)` floating-point numbers, not one row per image, or not all finite.
    """
    if feat_ND.ndim != 2 or feat_ND.dtype.kind != "f":
        raise DataError(f"{name} features are {feat_ND.dtype} of shape {feat_ND.shape}: give floats, one row per image")
    if len(feat_ND) != images:
        raise DataError(f"{name} has {len(feat_ND)} features but {images} labels: give one of each per image")
    step = max(1, CHUNK_BYTES // (4 * max(1, feat_ND.shape[1])))
    for start in range(0, len(feat_ND), step):
        with np.errstate(over="ignore"):
            broken = ~np.isfinite(feat_ND[start : start + step].astype(np.float32, copy=False)).all(axis=1)
        if broken.any():
            raise DataError(
                f"{name} feature {start + int(broken.argmax())} is not finite: "
                "the network that made it has diverged, or runs in too low a precision"
            )


def check_pair(
    query_feat_QD: npt.NDArray[np.generic], gallery_feat_GD: npt.NDArray[np.generic], queries: int, gallery_images: int
) -> None:
    """Refuse features that cannot be ranked against each other.

    Raises:
        DataError: as `check_features`, or query and gallery differ in width.
    """
    check_features("query", query_feat_QD, queries)
    check_features("gallery", gallery_feat_GD, gallery_images)
    if query_feat_QD.shape[1] != gallery_feat_GD.shape[1]:
        raise DataError(
            f"query features have {query_feat_QD.shape[1]} numbers, gallery features {gallery_feat_GD.shape[1]}: "
            "make both with the same network"
        )


def normalised(feat_ND: npt.NDArray[np.generic]) -> FeatureArray:
    """Scale every row to length 1; a row of zeros stays zero, equally near to everything."""
    feat = feat_ND.astype(np.float32)
    largest_N1 = np.maximum(feat.max(axis=1, keepdims=True, initial=0), -feat.min(axis=1, keepdims=True, initial=0))
    feat /= np.where(largest_N1 > 0, largest_N1, 1)  # squares of very large or small features leave float32
    length_N1 = np.sqrt(np.einsum("nd,nd->n", feat, feat))[:, None]
    feat /= np.where(length_N1 > 0, length_N1, 1)
    return feat


def _repeated_rows(feat_ND: FeatureArray) -> tuple[IntArray, IntArray]:
    """Find rows that repeat an earlier row exactly: their indices, and the indices of the rows they repeat.

    A matrix product rounds a column by its place in the block, so equal features get similarities that differ in
    the last bits; the ranking copies the earlier column over the later to keep ties exact.
    """
    weight_D = np.random.default_rng(0).integers(2**63, size=feat_ND.shape[1], dtype=np.uint64) | np.uint64(1)
    key_N = np.empty(len(feat_ND), dtype=np.uint64)
    for start in range(0, len(feat_ND), _ROWS_HASHED_AT_A_TIME):
        block = feat_ND[start : start + _ROWS_HASHED_AT_A_TIME] + np.float32(0)  # turns −0 into 0
        key_N[start : start + len(block)] = (block.view(np.uint32) * weight_D).sum(axis=1)
    _, first_U, group_N = np.unique(key_N, return_index=True, return_inverse=True)
    first_N = first_U[group_N]
    repeated = np.flatnonzero(first_N != np.arange(len(first_N)))
    truly = np.array([np.array_equal(feat_ND[row], feat_ND[first_N[row]]) for row in repeated], dtype=np.bool_)
    return repeated[truly], first_N[repeated[truly]]


def similarity_rows(
    query_feat_QD: npt.NDArray[np.generic], gallery_feat_GD: npt.NDArray[np.generic], chunk_bytes: int = CHUNK_BYTES
) -> Iterator[tuple[int, FeatureArray]]:
    """Yield (query index, its cosines with the whole gallery `(G,)`), computed a chunk of queries at a time."""
    gallery_GD = normalised(gallery_feat_GD)
    repeated, first = _repeated_rows(gallery_GD)
    step = max(1, chunk_bytes // (4 * max(1, len(gallery_GD))))
    for start in range(0, len(query_feat_QD), step):
        similarity_QG = normalised(query_feat_QD[start : start + step]) @ gallery_GD.T
        similarity_QG[:, repeated] = similarity_QG[:, first]
        yield from enumerate(similarity_QG, start)
