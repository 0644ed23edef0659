"""Frees what drivers that are gone still hold of a cluster. Knows no training.

Ray removes a placement group with the driver and the actor that made it, but not one that was made by an actor that
outlives its driver, as Ray Train's helpers do; what it holds is then missing for everybody.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ray.util.placement_group import PlacementGroup, PlacementGroupID, remove_placement_group
from ray.util.state import list_jobs, list_placement_groups

from rlq_ray.errors import ServiceError

ALIVE = ("RUNNING", "PENDING")
MOST = 10_000
"""What the cluster tells of each kind at most."""


@dataclass(frozen=True)
class Left:
    """A placement group whose driver is gone: what it holds of each kind, and the driver's job and command."""

    group_id: str
    held: dict[str, float]
    job_id: str
    command: str


def find_left(address: str) -> list[Left]:
    """Find the placement groups of drivers that are gone; those that were made to outlive theirs are not meant.

    Args:
        address: of the connected cluster, `host:port`.

    Raises:
        ServiceError: its dashboard does not answer.
    """
    try:
        groups = list_placement_groups(address=address, detail=True, limit=MOST)
        jobs = {job.job_id: job for job in list_jobs(address=address, limit=MOST)}  # after them, so that all are there
    except Exception as error:  # Ray's and those of its HTTP client, which share no base
        lines = str(error).strip().splitlines()
        raise ServiceError(
            f"the dashboard of the Ray cluster at '{address}' does not answer ({lines[0] if lines else error!r}): "
            "start the cluster with its dashboard"
        ) from error
    alive = {job_id for job_id, job in jobs.items() if job.status in ALIVE}
    return [
        Left(
            group_id=group.placement_group_id,
            held=dict(sum((Counter(bundle["unit_resources"]) for bundle in group.bundles or []), Counter())),
            job_id=group.creator_job_id,
            command=jobs[group.creator_job_id].entrypoint if group.creator_job_id in jobs else "",
        )
        for group in groups
        if group.state != "REMOVED" and not group.is_detached and group.creator_job_id not in alive
    ]


def free(left: Left) -> None:
    """Free what a driver left; what is gone already is free."""
    remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(left.group_id))))
