"""A folder of images and its side files → Arrow shards, a Ray task for each shard."""

from __future__ import annotations

from pathlib import Path

from pipelines.console import counting
from rlq_ray.data import Manifest, SideFiles, finish_ingest, plan_ingest, write_shard
from rlq_ray.distributed.tasks import map_on_cluster
from rlq_ray.storage import locate, probe_writable


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
    probe_writable(locate(to))
    plan = plan_ingest(root.absolute(), layout, to, name=name, licence=licence, side_files=side_files)
    with counting(f"writing the shards of {name}", len(plan.jobs)) as advance:
        return finish_ingest(plan, map_on_cluster(write_shard, plan.jobs, advance=advance))
