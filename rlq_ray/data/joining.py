"""Everything that is known beside the images, joined to them: genders, skeletons, pose clusters, masks, file sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlq_ray.data.attributes import MaskFiles, find_masks, join_genders, lookup, require_join, side_keys
from rlq_ray.data.layouts.source import SourceImage
from rlq_ray.data.manifest import JoinRates
from rlq_ray.data.poses import (
    PoseClusters,
    PoseVariant,
    fit_pose_clusters,
    pose_vectors,
    read_cluster_csv,
    read_keypoints,
)
from rlq_ray.data.survey import Apply, Survey, survey_images


@dataclass(frozen=True)
class SideFiles:
    """What is known beside the images. `partial` accepts files that cover fewer images, or more identities.

    Clusters come from `poses` (the authors' CSV) if given, else from the images' `keypoints`: by `centroids` that were
    fitted before, or by k-means on the training images.
    """

    gender: Path | None = None
    keypoints: Path | None = None
    poses: Path | None = None
    masks: Path | None = None
    pose_k: int = 15
    pose_variant: PoseVariant = "R_LA"
    centroids: PoseClusters | None = None
    partial: bool = False


@dataclass(frozen=True)
class Joined:
    """What is known of N images, in their order; `keypoints` has x, y, score of 17 joints or None."""

    genders: list[int | None]
    poses: list[int]
    keypoints: list[NDArray[np.float64] | None]
    masks: list[MaskFiles | None]
    survey: Survey
    clusters: PoseClusters | None
    rates: JoinRates


def join_side_files(images: Sequence[SourceImage], side: SideFiles, *, apply: Apply) -> Joined:
    """Join the side files to images, fit or assign pose clusters, and look at all files.

    Raises:
        DataError: a side file that cannot be used, or a file that is missing or no image.
    """
    genders, gender_rate = _genders(images, side)
    nothing: list[None] = [None] * len(images)
    masks: list[MaskFiles | None] = find_masks(images, side.masks) if side.masks else [*nothing]
    masks_rate = _rate(side.masks, images, [mask is not None for mask in masks], side)
    keypoints: list[NDArray[np.float64] | None] = [*nothing]
    if side.keypoints is not None:
        keypoints = join_keypoints(images, side.keypoints)
    makes_clusters = side.keypoints is not None and side.poses is None
    if makes_clusters:
        _rate(side.keypoints, images, [points is not None for points in keypoints], side)
    survey = survey_images(images, masks, reads_headers=makes_clusters, apply=apply)
    poses, clusters, pose_rate = _poses(images, side, keypoints, survey)
    return Joined(
        genders=genders,
        poses=poses,
        keypoints=keypoints,
        masks=masks,
        survey=survey,
        clusters=clusters,
        rates=JoinRates(gender=gender_rate, pose=pose_rate, masks=masks_rate),
    )


def join_keypoints(images: Sequence[SourceImage], side_file: Path) -> list[NDArray[np.float64] | None]:
    """Look every image's skeleton up.

    Raises:
        DataError: no AlphaPose JSON.
    """
    table = read_keypoints(side_file)
    return [lookup(keys, table) for keys in side_keys(images)]


@dataclass(frozen=True)
class Skeletons:
    """The images that have one: their rows, skeletons (n, 51), sizes (n, 2) and whether they are for training."""

    row: NDArray[np.int64]
    points_N51: NDArray[np.float64]
    size_N2: NDArray[np.int64]
    is_train: NDArray[np.bool_]

    def fit(self, variant: PoseVariant, k: int) -> PoseClusters:
        """Find centroids of the training images' poses.

        Raises:
            DataError: too few different training poses.
        """
        train = self.is_train
        vectors_ND = pose_vectors(self.points_N51[train], self.size_N2[train], variant)
        return fit_pose_clusters(vectors_ND, variant=variant, k=k)

    def assign(self, clusters: PoseClusters, num_images: int) -> list[int]:
        """Name the cluster of every image, from 1; 0 where there is no skeleton."""
        poses = np.zeros(num_images, dtype=np.int64)
        poses[self.row] = clusters.assign(pose_vectors(self.points_N51, self.size_N2, clusters.variant))
        return list(poses.tolist())


def skeletons_of(
    images: Sequence[SourceImage], keypoints: Sequence[NDArray[np.float64] | None], size_N2: NDArray[np.int64]
) -> Skeletons:
    """Gather the images that have a skeleton; `size_N2` is (height, width) of all."""
    rows = [row for row, points in enumerate(keypoints) if points is not None]
    return Skeletons(
        row=np.array(rows, dtype=np.int64),
        points_N51=np.array([keypoints[row] for row in rows], dtype=np.float64),
        size_N2=size_N2[rows],
        is_train=np.array([images[row].split == "train" for row in rows], dtype=np.bool_),
    )


def _rate(
    side_file: Path | None, images: Sequence[SourceImage], found: Sequence[bool], side: SideFiles
) -> float | None:
    return None if side_file is None else require_join(side_file, images, found, partial=side.partial)


def _genders(images: Sequence[SourceImage], side: SideFiles) -> tuple[list[int | None], float | None]:
    if side.gender is None:
        genders = [image.gender for image in images]
        found = [gender is not None for gender in genders]
        return genders, (sum(found) / len(found) if any(found) else None)
    genders = join_genders(images, side.gender, partial=side.partial)
    return genders, _rate(side.gender, images, [gender is not None for gender in genders], side)


def _poses(
    images: Sequence[SourceImage],
    side: SideFiles,
    keypoints: Sequence[NDArray[np.float64] | None],
    survey: Survey,
) -> tuple[list[int], PoseClusters | None, float | None]:
    if side.poses is not None:
        table = read_cluster_csv(side.poses, variant=side.pose_variant, k=side.pose_k)
        joined = [lookup(keys, table) for keys in side_keys(images)]
        rate = _rate(side.poses, images, [pose is not None for pose in joined], side)
        return [pose or 0 for pose in joined], PoseClusters(variant=side.pose_variant, k=side.pose_k), rate
    if side.keypoints is not None:
        rate = _rate(side.keypoints, images, [points is not None for points in keypoints], side)
        skeletons = skeletons_of(images, keypoints, survey.size_N2)
        clusters = side.centroids or skeletons.fit(side.pose_variant, side.pose_k)
        return skeletons.assign(clusters, len(images)), clusters, rate
    given = [image.pose for image in images if image.pose is not None]
    if not given:
        return [0] * len(images), None, None
    return [image.pose or 0 for image in images], PoseClusters(variant="given", k=max(given)), len(given) / len(images)
