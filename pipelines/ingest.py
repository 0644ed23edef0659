"""A folder of images and its side files → Arrow shards, a Ray task for each shard."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

from pipelines.console import counting
from rlq_ray.data import Manifest, SideFiles, finish_ingest, plan_ingest, write_shard
from rlq_ray.data.poses import PoseVariant
from rlq_ray.distributed.tasks import map_on_cluster
from rlq_ray.errors import UsageError
from rlq_ray.storage import locate, probe_writable


def side_files_of(
    gender: Path | None,
    poses: Path | None,
    keypoints: Path | None,
    masks: Path | None,
    *,
    k: int,
    variant: str,
    partial: bool,
) -> SideFiles:
    """Check the paths and names given on a command line.

    Raises:
        UsageError: a file that is not there, or no such variant.
    """
    for option, path in (("gender", gender), ("poses", poses), ("keypoints", keypoints), ("masks", masks)):
        if path is not None and not path.exists():
            raise UsageError(f"--{option} {path} does not exist: check the path")
    if variant not in get_args(PoseVariant):
        raise UsageError(f"there is no pose variant '{variant}': choose one of {', '.join(get_args(PoseVariant))}")
    return SideFiles(
        gender=gender,
        poses=poses,
        keypoints=keypoints,
        masks=masks,
        pose_k=k,
        pose_variant=cast("PoseVariant", variant),
        partial=partial,
    )


def ingest_folder(
    root: Path,
    layout: str,
    to: str,
    *,
    name: str,
    side_files: SideFiles,
    licence: str | None = None,
) -> Manifest:
    """Turn a folder into a data set at the URI `to`; one that is there is replaced once all is written.

    Raises:
        DataError: an image, name or side file that cannot be used.
        StorageError: the target cannot be written.
    """
    plan = plan_ingest(root.absolute(), layout, to, name=name, licence=licence, side_files=side_files)
    probe_writable(locate(to))
    with counting(f"writing the shards of {name}", len(plan.jobs)) as advance:
        return finish_ingest(plan, map_on_cluster(write_shard, plan.jobs, advance=advance))
