"""The preflight of a data set or of a raw folder: Ray tasks read every image once, then the report is put together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.console import counting
from rlq_ray.data import LAYOUTS, DataSet, SideFiles
from rlq_ray.data.check import (
    AUTOMATIC,
    NONE,
    PUBLISHED,
    Catalogue,
    Copies,
    FilesJob,
    Inspected,
    Joined,
    Report,
    ShardJob,
    Subject,
    catalogue_of_images,
    catalogue_of_index,
    closest_copies,
    examine,
    files_jobs,
    inspect,
    join,
    join_side_files,
    search,
    searches,
    source_images,
    with_rates_at_ingest,
)
from rlq_ray.data.layouts import read_layout
from rlq_ray.data.manifest import MANIFEST_NAME
from rlq_ray.distributed.tasks import map_on_cluster
from rlq_ray.errors import UsageError
from rlq_ray.storage import Location, exists, locate


@dataclass(frozen=True)
class Preflight:
    """What is to be checked, its labels and side files read, its images not yet."""

    subject: Subject
    jobs: Sequence[FilesJob | ShardJob]


def plan_check(
    place: str, *, layout: str | None = None, published: str = AUTOMATIC, side_files: SideFiles | None = None
) -> Preflight:
    """Read manifest and index of a data set, or names of a raw folder in a layout, and join the side files.

    Raises:
        UsageError: neither a data set nor a layout, both, or no such published set.
        DataError: the folder does not follow the layout, or the manifest or index is damaged.
        StorageError: the place cannot be reached.
    """
    if published not in (AUTOMATIC, NONE, *PUBLISHED):
        choices = ", ".join((*sorted(PUBLISHED), AUTOMATIC, NONE))
        raise UsageError(f"there are no published sizes of '{published}': choose one of {choices}")
    location, side = locate(place), side_files or SideFiles()
    is_data_set = exists(location / MANIFEST_NAME)
    if is_data_set and layout is not None:
        raise UsageError(f"{location} is an ingested data set, whose manifest names the layout: leave out --layout")
    if is_data_set:
        return _plan_data_set(location, published, side)
    if layout is None:
        raise UsageError(
            f"{location} is no data set (no manifest): for a raw folder give --layout, one of "
            f"{', '.join(sorted(LAYOUTS))}"
        )
    if not location.is_local:
        raise UsageError(f"{location} is no data set, and raw folders are read from disk: give a path, or ingest it")
    return _plan_folder(Path(location.path), layout, published, side)


def check(preflight: Preflight) -> Report:
    """Read every image by Ray tasks, compare the parts, and report.

    Raises:
        StorageError: the store cannot be read.
        ServiceError: a task died.
    """
    subject, jobs = preflight.subject, preflight.jobs
    with counting(f"reading {len(subject.catalogue):,} images", len(jobs)) as advance:
        inspected = join(map_on_cluster(inspect, jobs, advance=advance))
    return examine(subject, inspected, _near_copies(subject.catalogue, inspected))


def _plan_data_set(location: Location, published: str, side: SideFiles) -> Preflight:
    dataset = DataSet.open(location)
    manifest, catalogue = dataset.manifest, catalogue_of_index(dataset.index)
    is_given = any((side.gender, side.poses, side.keypoints, side.masks))
    joined = join_side_files(source_images(catalogue), side) if is_given else Joined()
    subject = Subject(
        data=location.uri,
        name=manifest.name,
        layout=manifest.layout,
        content_hash=manifest.content_hash,
        catalogue=catalogue,
        joined=with_rates_at_ingest(joined, manifest.join_rates),
        published=published,
    )
    return Preflight(subject, [ShardJob(location, entry) for entry in manifest.shards])


def _plan_folder(root: Path, layout: str, published: str, side: SideFiles) -> Preflight:
    images = read_layout(layout, root)
    joined = join_side_files(images, side)
    subject = Subject(
        data=str(root),
        name=root.name,
        layout=layout,
        content_hash=None,
        catalogue=catalogue_of_images(images),
        joined=joined,
        published=published,
    )
    return Preflight(subject, list(files_jobs(images, joined.masks or [None] * len(images))))


def _near_copies(catalogue: Catalogue, inspected: Inspected) -> dict[tuple[str, str], Copies]:
    pairs, jobs = [], []
    for pair, job in searches(catalogue, inspected):
        pairs.append(pair)
        jobs.append(job)
    with counting("comparing train, val and test", len(jobs)) as advance:
        pieces = map_on_cluster(search, jobs, advance=advance)
    found = defaultdict(list)
    for pair, piece in zip(pairs, pieces, strict=True):
        found[pair].append(piece)
    return {pair: closest_copies(some) for pair, some in found.items()}
