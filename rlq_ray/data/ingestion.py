"""A folder of images to a data set: plan, write the shards (anywhere, in any order), finish with the manifest.

`ingest` does the three in one process. Until the manifest is in place the target is no data set, or still the old one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from rlq_ray.data.attributes import find_masks, join_genders, lookup, require_join, side_keys
from rlq_ray.data.layouts import read_layout
from rlq_ray.data.layouts.source import SourceImage
from rlq_ray.data.manifest import JoinRates, Manifest, SplitCounts, make_manifest, write_manifest
from rlq_ray.data.poses import (
    PoseClusters,
    PoseVariant,
    fit_pose_clusters,
    pose_vectors,
    read_cluster_csv,
    read_keypoints,
)
from rlq_ray.data.records import MAX_GROUP_ROWS, SPLITS
from rlq_ray.data.row_groups import cut_row_groups
from rlq_ray.data.shards import PlannedImage, ShardJob, WrittenShard, write_shard, write_table
from rlq_ray.errors import DataError
from rlq_ray.storage import Location, delete_file, list_files, locate

MAX_SHARD_ROWS = 2048
MAX_SHARD_BYTES = 128 * 2**20


@dataclass(frozen=True)
class SideFiles:
    """What is known beside the images. `partial` accepts files that cover fewer images, or more identities.

    Clusters come from `poses` (the authors' CSV) if given, else from k-means on the training images' `keypoints`.
    """

    gender: Path | None = None
    keypoints: Path | None = None
    poses: Path | None = None
    masks: Path | None = None
    pose_k: int = 15
    pose_variant: PoseVariant = "R_LA"
    partial: bool = False


@dataclass(frozen=True)
class IngestPlan:
    """The jobs that make a data set, and what its manifest will say."""

    to: Location
    name: str
    layout: str
    licence: str | None
    pose: PoseClusters | None
    join_rates: JoinRates
    jobs: tuple[ShardJob, ...]


def ingest(
    root: str | os.PathLike[str],
    layout: str,
    to: str | os.PathLike[str],
    *,
    name: str,
    licence: str | None = None,
    side_files: SideFiles | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Turn a folder into a data set at the URI `to`; one that is there is replaced when all is written.

    `progress` is told after every shard how many of how many are done.

    Raises:
        DataError: an image, name or side file that cannot be used.
        StorageError: the target cannot be written.
    """
    plan = plan_ingest(root, layout, to, name=name, licence=licence, side_files=side_files)
    written = []
    for job in plan.jobs:
        written.append(write_shard(job))
        if progress is not None:
            progress(len(written), len(plan.jobs))
    return finish_ingest(plan, written)


def plan_ingest(
    root: str | os.PathLike[str],
    layout: str,
    to: str | os.PathLike[str],
    *,
    name: str,
    licence: str | None = None,
    side_files: SideFiles | None = None,
    shard_rows: int = MAX_SHARD_ROWS,
) -> IngestPlan:
    """List the images, join the side files and cut the rows into shards; writes nothing.

    Rows are sorted by split, identity, clothes, camera, source. A shard holds at most `shard_rows` images, or fewer if
    they are large.

    Raises:
        DataError: a name or side file that cannot be used.
    """
    side = side_files or SideFiles()
    images = read_layout(layout, Path(root))
    images.sort(key=lambda i: (SPLITS.index(i.split), i.identity, i.clothes, i.camera, i.source))
    _refuse_duplicates(images)
    genders, gender_rate = _genders(images, side)
    keypoints = _keypoints(images, side)
    poses, clusters, pose_rate = _poses(images, side, keypoints)
    masks = find_masks(images, side.masks) if side.masks else [None] * len(images)
    masks_rate = _rate(side.masks, images, [mask is not None for mask in masks], side)
    planned = [PlannedImage(*row) for row in zip(images, genders, poses, keypoints, masks, strict=True)]
    target = locate(to)
    return IngestPlan(
        to=target,
        name=name,
        layout=layout,
        licence=licence,
        pose=clusters,
        join_rates=JoinRates(gender=gender_rate, pose=pose_rate, masks=masks_rate),
        jobs=tuple(_jobs(planned, target, shard_rows)),
    )


def finish_ingest(plan: IngestPlan, written: Sequence[WrittenShard]) -> Manifest:
    """Write the index and then the manifest, and delete what an earlier data set left behind.

    Raises:
        DataError: not every job was done.
        StorageError: the target cannot be written.
    """
    done = sorted(written, key=lambda shard: shard.number)
    if [shard.number for shard in done] != [job.number for job in plan.jobs]:
        raise DataError(f"{len(done)} of {len(plan.jobs)} shards of {plan.to} were written: ingest again")
    return publish(
        plan.to,
        done,
        name=plan.name,
        layout=plan.layout,
        licence_accepted=plan.licence,
        pose=plan.pose,
        join_rates=plan.join_rates,
    )


def publish(to: Location, shards: Sequence[WrittenShard], **about: object) -> Manifest:
    """Make a data set of shards that lie at `to`, and delete every other Parquet file there.

    Raises:
        StorageError: the target cannot be written.
    """
    index = pa.concat_tables([shard.rows for shard in shards])
    of_shard = [number for number, shard in enumerate(shards) for _ in range(shard.entry.rows)]
    index = index.append_column("shard", pa.array(of_shard, pa.int32()))
    manifest = make_manifest(
        **about,
        splits=_count(index),
        shards=tuple(shard.entry for shard in shards),
        index=write_table(to, "index", index),
    )
    write_manifest(to, manifest)
    kept = {(to / entry.path).uri for entry in (*manifest.shards, manifest.index)}
    for file in list_files(to, ".parquet"):
        if file.uri not in kept:
            delete_file(file)
    return manifest


def _count(metadata: pa.Table) -> dict[str, SplitCounts]:
    counts = {}
    splits = np.asarray(metadata["split"].to_pylist())
    for split in SPLITS:
        rows = metadata.filter(pa.array(splits == split))
        if rows.num_rows:
            distinct = {name: len(rows[name].unique()) for name in ("identity", "clothes", "camera")}
            counts[split] = SplitCounts(
                images=rows.num_rows,
                identities=distinct["identity"],
                clothes=distinct["clothes"],
                cameras=distinct["camera"],
            )
    return counts


def _refuse_duplicates(images: Sequence[SourceImage]) -> None:
    sources: set[str] = set()
    for image in images:
        if image.source in sources:
            raise DataError(f"'{image.source}' is listed twice: keep one")
        sources.add(image.source)


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


def _keypoints(images: Sequence[SourceImage], side: SideFiles) -> list[tuple[float, ...] | None]:
    if side.keypoints is None:
        return [None] * len(images)
    table = read_keypoints(side.keypoints)
    return [lookup(keys, table) for keys in side_keys(images)]


def _poses(
    images: Sequence[SourceImage], side: SideFiles, keypoints: Sequence[tuple[float, ...] | None]
) -> tuple[list[int], PoseClusters | None, float | None]:
    if side.poses is not None:
        table = read_cluster_csv(side.poses, variant=side.pose_variant, k=side.pose_k)
        joined = [lookup(keys, table) for keys in side_keys(images)]
        rate = _rate(side.poses, images, [pose is not None for pose in joined], side)
        return [pose or 0 for pose in joined], PoseClusters(variant=side.pose_variant, k=side.pose_k), rate
    if side.keypoints is not None:
        rate = _rate(side.keypoints, images, [points is not None for points in keypoints], side)
        poses, clusters = cluster_poses(images, keypoints, variant=side.pose_variant, k=side.pose_k)
        return poses, clusters, rate
    given = [image.pose for image in images if image.pose is not None]
    if not given:
        return [0] * len(images), None, None
    return [image.pose or 0 for image in images], PoseClusters(variant="given", k=max(given)), len(given) / len(images)


def cluster_poses(
    images: Sequence[SourceImage],
    keypoints: Sequence[tuple[float, ...] | None],
    *,
    variant: PoseVariant = "R_LA",
    k: int = 15,
) -> tuple[list[int], PoseClusters]:
    """Fit clusters on the training images' skeletons and assign every image with them; 0 where there is no skeleton.

    Raises:
        DataError: an unreadable image, or too few different training poses.
    """
    rows = [row for row, points in enumerate(keypoints) if points is not None]
    points_N51 = np.array([keypoints[row] for row in rows], dtype=np.float64)
    size_N2 = np.array([_stored_size(images[row].file) for row in rows], dtype=np.int64).reshape(-1, 2)
    vectors_ND = pose_vectors(points_N51, size_N2, variant)
    trained_N = np.array([images[row].split == "train" for row in rows], dtype=bool)
    clusters = fit_pose_clusters(vectors_ND[trained_N], variant=variant, k=k)
    poses = [0] * len(images)
    for row, pose in zip(rows, clusters.assign(vectors_ND), strict=True):
        poses[row] = int(pose)
    return poses, clusters


def _stored_size(file: Path) -> tuple[int, int]:
    try:
        with Image.open(file) as image:
            return image.height, image.width
    except (OSError, SyntaxError) as error:
        raise DataError(f"cannot decode {file} ({error}): replace or remove the file") from error


def _jobs(rows: Sequence[PlannedImage], to: Location, shard_rows: int) -> Iterator[ShardJob]:
    """Cut rows into row groups, and gather whole row groups into shards of bounded size."""
    groups = _take(
        rows, cut_row_groups([(row.image.split, row.image.identity) for row in rows], min(shard_rows, MAX_GROUP_ROWS))
    )
    shard: list[Sequence[PlannedImage]] = []
    size, number = 0, 0
    for group in groups:
        group_bytes = sum(map(_stored_bytes, group))
        if shard and (sum(map(len, shard)) + len(group) > shard_rows or size + group_bytes > MAX_SHARD_BYTES):
            yield _job(number, to, shard)
            shard, size, number = [], 0, number + 1
        shard.append(group)
        size += group_bytes
    yield _job(number, to, shard)


def _take(rows: Sequence[PlannedImage], sizes: Sequence[int]) -> Iterator[Sequence[PlannedImage]]:
    start = 0
    for size in sizes:
        yield rows[start : start + size]
        start += size


def _job(number: int, to: Location, groups: Sequence[Sequence[PlannedImage]]) -> ShardJob:
    return ShardJob(number, to, tuple(row for group in groups for row in group), tuple(map(len, groups)))


def _stored_bytes(row: PlannedImage) -> int:
    try:
        return row.image.file.stat().st_size
    except OSError as error:
        raise DataError(f"cannot read {row.image.file} ({error.strerror}): check that it exists") from error
