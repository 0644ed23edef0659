"""Skeletons to pose clusters: AlphaPose files, the pose vector, k-means, and the authors' cluster CSV.

The vector and the clusters follow the coarse pose attribute of Pathak & Rawat, BMVC 2025. Knows no images: it is told
their sizes.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from textwrap import shorten
from typing import Literal

import ijson
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from rlq_ray.data.records import NUM_JOINTS
from rlq_ray.errors import DataError, UsageError

PoseVariant = Literal["R_LA", "R_A", "R_LAC", "N_LA", "N_A", "N_LAC"]
"""Pose vectors that the authors clustered: `R_*` of joints in a resized image, `N_*` of joints that their pose network
normalised, which AlphaPose files do not hold: those clusters can be read, not fitted."""

FITTED_VARIANTS: tuple[PoseVariant, ...] = ("R_LA", "R_A", "R_LAC")

CLUSTER_COUNTS = tuple(range(5, 45, 5))
"""Numbers of clusters that the authors' files have."""

ROWS_AT_ONCE = 4096

POSE_WIDTH, POSE_HEIGHT = 192, 384
BODY_LINES = (
    *((0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9)),
    *((6, 8), (8, 10), (11, 13), (12, 14), (13, 15), (14, 16)),
)
"""Pairs of COCO joints."""


class PoseClusters(BaseModel):
    """k-means centroids in the space of a pose vector; none if the clusters came ready-made from a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variant: str
    k: int
    centroids: tuple[tuple[float, ...], ...] = ()

    def assign(self, vectors_ND: NDArray[np.float64]) -> NDArray[np.int16]:
        """Name each vector's nearest centroid, from 1 to k.

        Raises:
            UsageError: there are no centroids.
        """
        if not self.centroids:
            raise UsageError(f"the {self.variant} clusters have no centroids: ingest with keypoints to fit them")
        centroids_KD = np.array(self.centroids)
        nearest_N = np.empty(len(vectors_ND), dtype=np.int16)
        for start in range(0, len(vectors_ND), ROWS_AT_ONCE):  # all at once would take gigabytes
            part = slice(start, start + ROWS_AT_ONCE)
            nearest_N[part] = ((vectors_ND[part, None, :] - centroids_KD[None]) ** 2).sum(-1).argmin(1) + 1
        return nearest_N


def read_keypoints(side_file: Path) -> dict[str, NDArray[np.float64]]:
    """Read AlphaPose results: image name without suffix -> x, y, score of 17 joints, (51,), of its best-scored person.

    Reads person by person and holds 0.6 kB an image; the objects of a whole file would take 4 kB.

    Raises:
        DataError: no AlphaPose JSON, or not 17 joints.
    """
    best: dict[str, tuple[float, NDArray[np.float64]]] = {}
    try:
        with side_file.open("rb") as stream:
            for person in ijson.items(stream, "item", use_float=True):
                name, score = str(person["image_id"]), float(person["score"])
                keypoints = np.array(person["keypoints"], dtype=np.float64)
                if keypoints.shape != (3 * NUM_JOINTS,):
                    raise DataError(
                        f"{side_file}: '{name}' has {keypoints.size} keypoint values, not {3 * NUM_JOINTS}: "
                        "run AlphaPose with the COCO-17 model"
                    )
                if not (math.isfinite(score) and np.isfinite(keypoints).all()):
                    raise DataError(f"{side_file}: '{name}' has a value that is no number: remove that person")
                key = _without_suffix(name)
                if key not in best or score > best[key][0]:
                    best[key] = (score, keypoints)
    except FileNotFoundError as error:
        raise DataError(f"the keypoint file '{side_file}' does not exist: check the path") from error
    except (ijson.JSONError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise DataError(
            f"{side_file} is no AlphaPose JSON: {reason}; give a list of image_id, keypoints, score"
        ) from error
    return {key: keypoints for key, (_, keypoints) in best.items()}


def _without_suffix(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in (".jpg", ".jpeg", ".png") else name


def require_fitted(variant: str) -> None:
    """Make sure that keypoints give this variant.

    Raises:
        UsageError: they do not.
    """
    if variant not in FITTED_VARIANTS:
        raise UsageError(
            f"keypoints do not give pose variant '{variant}': choose one of {', '.join(FITTED_VARIANTS)}, or bring its "
            "clusters as a CSV"
        )


def pose_vectors(keypoints_N51: NDArray[np.float64], size_N2: NDArray[np.int64], variant: str) -> NDArray[np.float64]:
    """Turn skeletons into pose vectors: `R_A` 13 angles, `R_LA` 13 lengths before them, `R_LAC` 34 coordinates first.

    Joints are scaled from an image of (height, width) `size_N2` to 384×192 and cut to whole pixels; angles are in
    degrees, `atan2(y1 − y2, x1 − x2)`, lengths in those pixels.

    Raises:
        UsageError: a variant that keypoints do not give.
    """
    require_fitted(variant)
    joints_NJ3 = np.asarray(keypoints_N51, dtype=np.float64).reshape(-1, NUM_JOINTS, 3)
    height_N1, width_N1 = size_N2[:, :1], size_N2[:, 1:]
    x_NJ = np.trunc(joints_NJ3[:, :, 0] * POSE_WIDTH / width_N1)
    y_NJ = np.trunc(joints_NJ3[:, :, 1] * POSE_HEIGHT / height_N1)
    start, end = (list(side) for side in zip(*BODY_LINES, strict=True))
    dx, dy = x_NJ[:, start] - x_NJ[:, end], y_NJ[:, start] - y_NJ[:, end]
    angles, lengths = np.degrees(np.arctan2(dy, dx)), np.hypot(dx, dy)
    if variant == "R_A":
        return angles
    if variant == "R_LA":
        return np.concatenate([lengths, angles], axis=1)
    coordinates = np.stack([x_NJ, y_NJ], axis=2).reshape(len(x_NJ), 2 * NUM_JOINTS)
    return np.concatenate([coordinates, lengths, angles], axis=1)


def fit_pose_clusters(
    vectors_ND: NDArray[np.float64], *, variant: PoseVariant, k: int = 15, seed: int = 0
) -> PoseClusters:
    """Find k centroids; the same vectors and seed give the same centroids, bit for bit.

    Raises:
        DataError: fewer different vectors than clusters.
    """
    from sklearn.cluster import KMeans  # here, because it takes a second and only ingestion needs it
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    different = len(np.unique(vectors_ND, axis=0)) if len(vectors_ND) else 0
    if different < k:
        raise DataError(f"{different} different poses cannot make {k} clusters: lower k, or give more keypoints")
    with threadpool_limits(limits=1):  # threads add partial sums in any order, which changes the last bits
        centroids = KMeans(n_clusters=k, n_init=10, random_state=seed).fit(vectors_ND).cluster_centers_
    return PoseClusters(variant=variant, k=k, centroids=tuple(tuple(map(float, row)) for row in centroids))


def write_cluster_csv(
    side_file: Path, names: Sequence[tuple[str, str]], clusters_of: Mapping[str, Sequence[int]]
) -> None:
    """Write clusters of images, named (category, image), in the authors' format: `Category,Image,R_LA_15`, as floats.

    `clusters_of` has the images' clusters for each column, such as `R_LA_15`.
    """
    rows = sorted(zip(names, *clusters_of.values(), strict=True))
    with side_file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["Category", "Image", *clusters_of])
        writer.writerows([*name, *(f"{cluster:.1f}" for cluster in clusters)] for name, *clusters in rows)


def read_cluster_csv(side_file: Path, *, variant: str, k: int) -> dict[str, int]:
    """Read one column of a cluster CSV: image name -> cluster from 1 to k, 0 for no pose.

    The authors' files have 48: variants R_LA, R_LAC, R_A, N_LA, N_LAC, N_A for each k of 5, 10, …, 40. Every image is
    also listed as `Category/Image`; where categories disagree about a bare name, only so.

    Raises:
        DataError: the column is missing, a cluster is out of range, or an image has two different clusters.
    """
    column = f"{variant}_{k}"
    clusters: dict[str, int] = {}
    shared: dict[str, set[int]] = defaultdict(set)
    with side_file.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        names: Sequence[str] = reader.fieldnames or ()
        if "Image" not in names or column not in names:
            shown = shorten(", ".join(names), 160, placeholder=" …")
            raise DataError(
                f"{side_file} has the columns {shown}, but Image and {column} are needed: choose another variant or k"
            )
        for row in reader:
            cluster = _cluster(side_file, reader.line_num, row[column] or "", k)
            shared[row["Image"]].add(cluster)
            if clusters.setdefault(f"{row.get('Category')}/{row['Image']}", cluster) != cluster:
                raise DataError(f"{side_file} line {reader.line_num}: '{row['Image']}' has two clusters; keep one")
    return clusters | {name: values.pop() for name, values in shared.items() if len(values) == 1}


def _cluster(side_file: Path, line: int, text: str, k: int) -> int:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value.is_integer() or not 0 <= value <= k:
        raise DataError(f"{side_file} line {line}: cluster '{text}' is not a whole number from 0 to {k}")
    return int(value)
