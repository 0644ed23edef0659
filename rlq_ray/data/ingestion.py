"""A folder of images to a data set: plan, start, write the shards (anywhere, in any order), finish with the manifest.

`ingest` does it in one process. Until the manifest is in place the target is no data set, or still the old one. Killed
at any moment and called again, it takes over the shards that are whole and ends with the same data set.

Memory: while it plans, a process holds up to 3 kB an image, then a `PlannedImage` and its row of the index, together
1.2 kB; the writer of a shard holds that shard.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern

import numpy as np
import pyarrow as pa

from rlq_ray.data.attributes import MaskFiles
from rlq_ray.data.jobs import PlannedImage, ShardJob, WrittenShard, fingerprint_job
from rlq_ray.data.joining import Joined, SideFiles, join_side_files
from rlq_ray.data.layouts import read_layout
from rlq_ray.data.layouts.source import SourceImage
from rlq_ray.data.ledger import Claim, claim_target, delete_files, finished_shards, require_shards, stale_files
from rlq_ray.data.manifest import JoinRates, Manifest, SplitCounts, make_manifest, write_manifest
from rlq_ray.data.poses import PoseClusters
from rlq_ray.data.records import MAX_GROUP_ROWS, SPLITS
from rlq_ray.data.row_groups import cut_row_groups
from rlq_ray.data.shards import write_shard, write_table
from rlq_ray.data.survey import Apply, Survey, apply_here
from rlq_ray.errors import DataError
from rlq_ray.storage import Location, locate

MAX_SHARD_ROWS = 2048
MAX_SHARD_BYTES = 128 * 2**20


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


@dataclass(frozen=True)
class StartedIngest:
    """The right to write at the plan's target, and its jobs, of which `num_finished` need only be taken over."""

    claim: Claim
    jobs: tuple[ShardJob, ...]
    num_finished: int


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
    started = start_ingest(plan)
    written = []
    for job in started.jobs:
        written.append(write_shard(job))
        if progress is not None:
            progress(len(written), len(plan.jobs))
    return finish_ingest(plan, written, started.claim)


def plan_ingest(
    root: str | os.PathLike[str],
    layout: str,
    to: str | os.PathLike[str],
    *,
    name: str,
    licence: str | None = None,
    side_files: SideFiles | None = None,
    shard_rows: int = MAX_SHARD_ROWS,
    apply: Apply = apply_here,
) -> IngestPlan:
    """List the images, join the side files and cut the rows into shards; writes nothing.

    Rows are sorted by split, identity, clothes, camera, source. A shard holds at most `shard_rows` images, or fewer if
    they are large. `apply` may look at the files on a cluster.

    Raises:
        DataError: a name or side file that cannot be used.
    """
    images = read_layout(layout, Path(root))
    images.sort(key=lambda i: (SPLITS.index(i.split), i.identity, i.clothes, i.camera, i.source))
    _refuse_duplicates(images)
    joined = join_side_files(images, side_files or SideFiles(), apply=apply)
    target = locate(to)
    return IngestPlan(
        to=target,
        name=name,
        layout=layout,
        licence=licence,
        pose=joined.clusters,
        join_rates=joined.rates,
        jobs=tuple(_jobs(_plan_images(images, joined), joined.survey, target, shard_rows)),
    )


def start_ingest(plan: IngestPlan) -> StartedIngest:
    """Claim the target and find the shards that an earlier run wrote for the same jobs.

    Raises:
        StorageError: the target cannot be written.
    """
    claim = claim_target(plan.to)
    finished = finished_shards(plan.to, [job.fingerprint for job in plan.jobs])
    jobs = tuple(dataclasses.replace(job, finished=finished.get(job.number)) for job in plan.jobs)
    return StartedIngest(claim, jobs, len(finished))


def finish_ingest(plan: IngestPlan, written: Sequence[WrittenShard], claim: Claim | None = None) -> Manifest:
    """Write the index and then the manifest, and delete what an earlier data set or run left behind.

    Raises:
        DataError: not every job was done.
        StorageError: the target cannot be written, or was claimed by somebody else since.
    """
    done = sorted(written, key=lambda shard: shard.number)
    if [shard.number for shard in done] != [job.number for job in plan.jobs]:
        raise DataError(f"{len(done)} of {len(plan.jobs)} shards of {plan.to} were written: ingest again")
    return publish(
        claim or claim_target(plan.to),
        done,
        name=plan.name,
        layout=plan.layout,
        licence_accepted=plan.licence,
        pose=plan.pose,
        join_rates=plan.join_rates,
    )


def publish(
    claim: Claim, shards: Sequence[WrittenShard], *, spare: Sequence[Location] = (), **about: object
) -> Manifest:
    """Make a data set of shards that lie at the claimed target; delete all else of a data set there, but `spare`.

    What is to be deleted is listed while the claim holds, so that nothing is deleted that a later claimant writes.

    Raises:
        StorageError: the target cannot be written, or was claimed by somebody else since.
    """
    to, entries = claim.to, [shard.entry for shard in shards]
    index = pa.concat_tables([shard.rows for shard in shards])
    of_shard = np.repeat(np.arange(len(entries), dtype=np.int32), [entry.rows for entry in entries])
    index = index.append_column("shard", pa.array(of_shard))
    manifest = make_manifest(
        **about, splits=_count(index), shards=tuple(entries), index=write_table(to, "index", index)
    )
    require_shards(to, manifest.shards)
    stale = [file for file in stale_files(to, (*manifest.shards, manifest.index)) if file not in spare]
    claim.require()
    write_manifest(to, manifest)
    claim.require()
    delete_files(to, stale)
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


def _plan_images(images: Sequence[SourceImage], joined: Joined) -> list[PlannedImage]:
    """Keep what the writers need: plain values, and one object for a name that many images share."""
    columns = (images, joined.genders, joined.poses, joined.keypoints, joined.masks)
    return [
        PlannedImage(
            file=str(image.file),
            source=image.source,
            split=intern(image.split),
            identity=intern(image.identity),
            clothes=intern(image.clothes),
            camera=image.camera,
            gender=gender,
            pose=pose,
            keypoints=None if points is None else points.astype(np.float32).tobytes(),
            masks=_mask_files(masks),
            mask_faulty=masks.faulty if masks else False,
        )
        for image, gender, pose, points, masks in zip(*columns, strict=True)
    ]


def _mask_files(masks: MaskFiles | None) -> tuple[str | None, str | None, str | None] | None:
    if masks is None:
        return None
    files = (masks.shirt, masks.trousers, masks.clothes)
    shirt, trousers, clothes = (None if file is None else str(file) for file in files)
    return shirt, trousers, clothes


def _jobs(rows: Sequence[PlannedImage], survey: Survey, to: Location, shard_rows: int) -> Iterator[ShardJob]:
    """Cut rows into row groups, and gather whole row groups into shards of bounded size."""
    keys = [(row.split, row.identity) for row in rows]
    sizes = cut_row_groups(keys, survey.num_bytes.tolist(), max_rows=min(shard_rows, MAX_GROUP_ROWS))
    start, number = 0, 0
    for shard in _gather(sizes, survey, shard_rows):
        end = start + sum(shard)
        fingerprint = fingerprint_job(rows[start:end], survey.stamp[start:end].tolist(), shard)
        yield ShardJob(number, to, tuple(rows[start:end]), tuple(shard), fingerprint)
        start, number = end, number + 1


def _gather(group_sizes: Sequence[int], survey: Survey, shard_rows: int) -> Iterator[list[int]]:
    """Give the sizes of each shard's row groups."""
    shard: list[int] = []
    num_bytes, start = 0, 0
    for size in group_sizes:
        group_bytes = int(survey.num_bytes[start : start + size].sum())
        if shard and (sum(shard) + size > shard_rows or num_bytes + group_bytes > MAX_SHARD_BYTES):
            yield shard
            shard, num_bytes = [], 0
        shard.append(size)
        num_bytes += group_bytes
        start += size
    yield shard
