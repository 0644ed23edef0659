"""What features hold besides identity: image quality, and the gender of those mistaken for each other.

Pathak & Rawat (BMVC 2025) claim that features of low-quality (LQ) images flock together, whoever is on them, and that
coarse attributes keep wrong matches plausible. Knows arrays only. Distances are cosine distances, 1 − cosine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rlq_ray.errors import DataError
from rlq_ray.evaluate.nearest import top_k
from rlq_ray.evaluate.protocols import BoolArray, GalleryProtocol, IntArray, Labels, protocol_named
from rlq_ray.evaluate.ranking import FloatArray
from rlq_ray.evaluate.scores import match_counts
from rlq_ray.evaluate.similarity import FeatureArray, check_pair, normalised, similarity_rows

MAX_IMAGES = 2000
"""Images that are looked at, spread evenly over all, so that an evaluation's cost stays bounded."""

NEIGHBOURS = 10
"""Nearest neighbours of an image that are looked at."""

_RESOLUTION = 1e-6


@dataclass(frozen=True)
class Share:
    """A share in 0…1, the one that chance would give, and how many cases it is of."""

    value: float
    chance: float
    cases: int


def silhouette(feat_ND: npt.NDArray[np.generic], cluster_N: npt.NDArray[np.generic]) -> float:
    """Give the mean silhouette of features in given clusters, in −1…1 (Rousseeuw, J. Comput. Appl. Math. 20, 1987).

    An image's is (b − a) / max(a, b), with a its mean distance to the others of its cluster and b the least mean
    distance to another cluster; 0 for an image alone in its cluster. High where features part by cluster; about 0
    where the clusters mix. As distances are cosine distances, a cluster's sum of unit features gives its mean distance
    at once. Distances below 1e-6, which float32 features cannot tell, count as 0.

    Raises:
        DataError: all images are in one cluster, or features and clusters do not fit.
    """
    check_pair(feat_ND, feat_ND, len(cluster_N), len(cluster_N))
    clusters, place_N = np.unique(cluster_N, return_inverse=True)
    if len(clusters) < 2:
        raise DataError(f"the silhouette of {len(clusters)} cluster is not defined: give images of at least two")
    unit_ND = normalised(feat_ND).astype(np.float64)
    sum_CD = np.zeros((len(clusters), unit_ND.shape[1]))
    np.add.at(sum_CD, place_N, unit_ND)
    size_C = np.bincount(place_N)
    similarity_NC = unit_ND @ sum_CD.T
    image_N = np.arange(len(unit_ND))
    others_N = size_C[place_N] - 1
    own_N = similarity_NC[image_N, place_N] - np.einsum("nd,nd->n", unit_ND, unit_ND)
    within_N = _distance(own_N, np.maximum(others_N, 1))
    distance_NC = _distance(similarity_NC, size_C)
    distance_NC[image_N, place_N] = np.inf
    between_N = distance_NC.min(axis=1)
    largest_N = np.maximum(within_N, between_N)
    defined_N = (others_N > 0) & (largest_N > 0)
    value_N = np.where(defined_N, (between_N - within_N) / np.where(defined_N, largest_N, 1), 0)
    return float(value_N.mean())


def _distance(summed_similarity: FloatArray, count: IntArray) -> FloatArray:
    distance: FloatArray = 1 - summed_similarity / count
    return np.where(distance < _RESOLUTION, 0, distance)


def lq_neighbour_share(
    hq_ND: npt.NDArray[np.generic], lq_ND: npt.NDArray[np.generic], *, neighbours: int = NEIGHBOURS
) -> Share:
    """Give the share of LQ images among an LQ image's nearest neighbours, averaged over the LQ images.

    `hq_ND` and `lq_ND` are the same N images in both qualities. Neighbours are looked for in both, less the image
    itself in both: N − 1 of each are left, so that chance is 1/2; the share is 1 where quality outweighs all else.
    Images as far as the last neighbour count with equal weights that fill the places they share.

    Raises:
        DataError: fewer than two images, or the features do not fit each other.
    """
    check_pair(lq_ND, hq_ND, len(hq_ND), len(hq_ND))
    images = len(hq_ND)
    if images < 2:
        raise DataError(f"{images} image has no neighbours: give at least two")
    k = min(neighbours, 2 * images - 2)
    is_lq = np.arange(2 * images) >= images
    share_N = np.empty(images)
    for row, similarity in similarity_rows(lq_ND, np.concatenate([hq_ND, lq_ND])):
        similarity[[row, images + row]] = -np.inf
        share_N[row] = _share_among_nearest(similarity, is_lq, k)
    return Share(value=float(share_N.mean()), chance=0.5, cases=images)


def _share_among_nearest(similarity: FeatureArray, chosen: BoolArray, k: int) -> float:
    last = np.partition(similarity, len(similarity) - k)[len(similarity) - k]
    nearer, tied = similarity > last, similarity == last
    return float((chosen[nearer].sum() + (k - nearer.sum()) * chosen[tied].mean()) / k)


def wrong_match_gender(
    query_feat_QD: npt.NDArray[np.generic],
    gallery_feat_GD: npt.NDArray[np.generic],
    query: Labels,
    gallery: Labels,
    query_gender_Q: npt.NDArray[np.integer],
    gallery_gender_G: npt.NDArray[np.integer],
    protocol: str | GalleryProtocol,
) -> Share | None:
    """Give the share of wrong top-1 matches that have the query's gender; None where nothing can be counted.

    Counted are queries that have a match, where the nearest image is of somebody else, and both genders are known (1
    male, 0 female, −1 unknown). Chance is the mean share of the query's gender among all images of somebody else.

    Raises:
        DataError: features and labels do not fit each other, or a label that the protocol compares is unknown.
    """
    index_Q1, correct_Q1 = top_k(query_feat_QD, gallery_feat_GD, query, gallery, protocol, 1)
    nearest_Q = index_Q1[:, 0]
    wrong_Q = (match_counts(query, gallery, protocol)[0] > 0) & ~correct_Q1[:, 0]
    wrong_Q &= (query_gender_Q >= 0) & (gallery_gender_G[nearest_Q] >= 0)
    if not wrong_Q.any():
        return None
    gender_W = query_gender_Q[wrong_Q].astype(np.int64)
    strangers_W2 = _strangers_by_gender(query.identity_N[wrong_Q], gallery.identity_N, gallery_gender_G)
    chance_W = strangers_W2[np.arange(len(gender_W)), gender_W] / strangers_W2.sum(axis=1)
    same_W = gallery_gender_G[nearest_Q[wrong_Q]] == gender_W
    return Share(value=float(same_W.mean()), chance=float(chance_W.mean()), cases=len(gender_W))


def _strangers_by_gender(
    query_identity_W: IntArray, gallery_identity_G: IntArray, gallery_gender_G: npt.NDArray[np.integer]
) -> IntArray:
    """Count the gallery's women and men of other identities than each query's: `(W, 2)`."""
    known_G = gallery_gender_G >= 0
    identities, place = np.unique(np.concatenate([query_identity_W, gallery_identity_G]), return_inverse=True)
    count_P2 = np.zeros((len(identities), 2), dtype=np.int64)
    np.add.at(count_P2, (place[len(query_identity_W) :][known_G], gallery_gender_G[known_G].astype(np.int64)), 1)
    strangers_W2: IntArray = count_P2.sum(axis=0) - count_P2[place[: len(query_identity_W)]]
    return strangers_W2


def diagnose(
    hq_ND: npt.NDArray[np.generic],
    lq_ND: npt.NDArray[np.generic],
    labels: Labels,
    gender_N: npt.NDArray[np.integer],
    protocol: str | GalleryProtocol,
    *,
    max_images: int = MAX_IMAGES,
) -> dict[str, float]:
    """Look at N images in both qualities, each in turn against all others as they are.

    `silhouette_quality` takes HQ and LQ as two clusters, `silhouette_identity` each identity's images of both; then
    `lq_neighbour_share` and its `…_chance`; and `hq/cc/wrong_same_gender` and its `…_chance`, under the protocol and by
    the query's quality. What cannot be told is absent: too few images or identities, no gender, no wrong match. Above
    `max_images`, only as many, spread evenly, are clustered, neighbours or queries; the gallery stays whole.

    Raises:
        DataError: features and labels do not fit each other, or a label that the protocol compares is unknown.
    """
    rows = np.unique(np.linspace(0, len(labels) - 1, min(max_images, len(labels))).astype(np.int64))
    hq, lq = hq_ND[rows], lq_ND[rows]
    both = np.concatenate([hq, lq])
    found: dict[str, float] = {}
    if len(rows) > 1:
        found["silhouette_quality"] = silhouette(both, np.repeat([0, 1], len(rows)))
        near = lq_neighbour_share(hq, lq)
        found |= {"lq_neighbour_share": near.value, "lq_neighbour_share_chance": near.chance}
    identity = labels.identity_N[rows]
    if len(np.unique(identity)) > 1:
        found["silhouette_identity"] = silhouette(both, np.tile(identity, 2))
    for quality, feat in (("hq", hq), ("lq", lq)):
        same = wrong_match_gender(feat, hq_ND, labels.take(rows), labels, gender_N[rows], gender_N, protocol)
        if same is not None:
            name = f"{quality}/{protocol_named(protocol).name}/wrong_same_gender"
            found |= {name: same.value, f"{name}_chance": same.chance}
    return found
