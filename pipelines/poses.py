"""Skeletons → pose clusters in the authors' CSV format, and their centroids for later images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.console import counting
from pipelines.ingest import on_cluster
from rlq_ray.data.attributes import require_join, side_keys
from rlq_ray.data.centroids import write_centroids
from rlq_ray.data.joining import join_keypoints, skeletons_of
from rlq_ray.data.layouts import read_layout
from rlq_ray.data.poses import (
    CLUSTER_COUNTS,
    FITTED_VARIANTS,
    PoseClusters,
    PoseVariant,
    require_fitted,
    write_cluster_csv,
)
from rlq_ray.data.survey import survey_images
from rlq_ray.errors import UsageError

ALL_COLUMNS: tuple[tuple[PoseVariant, int], ...] = tuple((v, k) for v in FITTED_VARIANTS for k in CLUSTER_COUNTS)
"""What the authors' files have of the variants that skeletons give."""


def centroids_file(out: Path) -> Path:
    """Name the file of the centroids beside a cluster CSV."""
    return out.with_name(f"{out.name}.centroids.json")


def cluster_folder(
    root: Path,
    layout: str,
    keypoints: Path,
    out: Path,
    *,
    columns: Sequence[tuple[PoseVariant, int]],
    partial: bool = False,
) -> list[PoseClusters]:
    """Fit clusters on a folder's training images and write every image's to `out`, a column for each (variant, k).

    An image is named as side files name it, by the shortest name that no other image has.

    Raises:
        DataError: an image or skeleton that cannot be used, or too few of them.
        UsageError: a variant that skeletons do not give, or files that are not there.
    """
    for variant, _ in columns:
        require_fitted(variant)
    if not keypoints.exists():
        raise UsageError(f"--keypoints {keypoints} does not exist: check the path")
    images = read_layout(layout, root.absolute())
    points = join_keypoints(images, keypoints)
    require_join(keypoints, images, [found is not None for found in points], partial=partial)
    survey = survey_images(images, [None] * len(images), reads_headers=True, apply=on_cluster)
    skeletons = skeletons_of(images, points, survey.size_N2)
    fitted, clusters_of = [], {}
    with counting("fitting clusters", len(columns)) as advance:
        for variant, k in columns:
            fitted.append(skeletons.fit(variant, k))
            clusters_of[f"{variant}_{k}"] = skeletons.assign(fitted[-1], len(images))
            advance()
    names = [(image.split, keys[-1]) for image, keys in zip(images, side_keys(images), strict=True)]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_cluster_csv(out, names, clusters_of)
    write_centroids(str(centroids_file(out)), fitted)
    return fitted
