"""A folder of images and its side files → Arrow shards, a Ray task for each shard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

from pipelines.console import counting, stderr
from rlq_ray.data import Manifest, SideFiles, finish_ingest, plan_ingest, start_ingest, write_shard
from rlq_ray.data.centroids import read_centroids
from rlq_ray.data.poses import PoseVariant, require_fitted
from rlq_ray.distributed.tasks import map_on_cluster
from rlq_ray.errors import UsageError
from rlq_ray.people.dataset import MARKER
from rlq_ray.storage import probe_writable

DEFAULT_K = 15
DEFAULT_VARIANT: PoseVariant = "R_LA"
FREE_LAYOUTS = ("generic",)
"""Layouts that are nobody's; the others are those of public data sets."""


def side_files_of(
    gender: Path | None,
    poses: Path | None,
    keypoints: Path | None,
    masks: Path | None,
    *,
    centroids: str | None = None,
    k: int | None = None,
    variant: str | None = None,
    partial: bool,
) -> SideFiles:
    """Check the paths and names given on a command line; without them, clusters are `R_LA_15` or those of `centroids`.

    Raises:
        UsageError: a file that is not there, no such variant, or options that contradict each other.
        DataError: no such centroids.
    """
    for option, path in (("gender", gender), ("poses", poses), ("keypoints", keypoints), ("masks", masks)):
        if path is not None and not path.exists():
            raise UsageError(f"--{option} {path} does not exist: check the path")
    chosen = DEFAULT_VARIANT if variant is None else pose_variant(variant)
    if centroids is not None and poses is not None:
        raise UsageError("--poses has clusters and --centroids would make others: give one of them")
    if centroids is not None and keypoints is None:
        raise UsageError("--centroids says which cluster a skeleton belongs to: give the skeletons by --keypoints")
    if keypoints is not None and poses is None:
        require_fitted(chosen)
    return SideFiles(
        gender=gender,
        poses=poses,
        keypoints=keypoints,
        masks=masks,
        pose_k=k or DEFAULT_K,
        pose_variant=chosen,
        centroids=None if centroids is None else read_centroids(centroids, variant=variant, k=k),
        partial=partial,
    )


def pose_variant(name: str) -> PoseVariant:
    """Check the name of a pose variant.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in get_args(PoseVariant):
        raise UsageError(f"there is no pose variant '{name}': choose one of {', '.join(get_args(PoseVariant))}")
    return cast("PoseVariant", name)


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
    if licence is None and layout not in FREE_LAYOUTS and not (root / MARKER).exists():
        stderr.print(licence_notice(layout))
    root = root.absolute()  # as the masks: workers are in folders of their own
    side_files = replace(side_files, masks=side_files.masks and side_files.masks.absolute())
    plan = plan_ingest(root, layout, to, name=name, licence=licence, side_files=side_files, apply=on_cluster)
    probe_writable(plan.to)
    started = start_ingest(plan)
    if started.num_finished:
        stderr.print(f"  {started.num_finished} of {len(plan.jobs)} shards are there already")
    with counting(f"writing the shards of {name}", len(plan.jobs)) as advance:
        written = map_on_cluster(write_shard, started.jobs, advance=advance)
    return finish_ingest(plan, written, started.claim)


def licence_notice(layout: str) -> str:
    """Say what images in a public set's layout most likely are."""
    return (
        f"note: data sets in the layout '{layout}' are biometric data, for research only, under their owner's licence: "
        "if this is one, name the licence that you accepted by --accept-license, which the manifest records"
    )


def on_cluster(title: str, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Call a function on every item, as Ray tasks."""
    with counting(title, len(items)) as advance:
        return map_on_cluster(function, items, advance=advance)
