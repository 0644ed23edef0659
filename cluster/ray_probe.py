"""Try a Ray cluster out: what a worker of it is, and whether it can use the store and the tracking server."""

from __future__ import annotations

from dataclasses import dataclass

import ray

from cluster.versions import versions
from rlq_ray.errors import RlqError, ServiceError
from rlq_ray.storage import locate, probe_writable

TIMEOUT_S = 180.0
"""For a worker that first has to import everything on a busy machine."""


@dataclass(frozen=True)
class WorkerReport:
    """What a worker found.

    Attributes:
        versions: of Python and the compared packages.
        store_error: why it cannot use the store; empty if it can.
        tracking_error: why it cannot use the tracking server; empty if it can.
    """

    versions: dict[str, str]
    store_error: str
    tracking_error: str


def ask_worker(store_uri: str, tracking_uri: str) -> WorkerReport:
    """Have a worker of the connected cluster look around.

    Raises:
        ServiceError: no worker answers, or it cannot run this package.
    """
    task = ray.remote(num_cpus=0, max_retries=0)(_look_around)
    try:
        found: WorkerReport = ray.get(task.remote(store_uri, tracking_uri), timeout=TIMEOUT_S)
        return found
    except ray.exceptions.GetTimeoutError as error:
        raise ServiceError(
            f"no worker answered within {TIMEOUT_S:.0f} s: look for what holds the cluster by `ray status`"
        ) from error
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ServiceError(f"a worker cannot run this package ({reason}): install it on the nodes") from error


def _look_around(store_uri: str, tracking_uri: str) -> WorkerReport:
    from rlq_ray.tracking.round_trip import try_out

    errors = []
    for act in (lambda: probe_writable(locate(store_uri)), lambda: try_out(tracking_uri)):
        try:
            act()
            errors.append("")
        except RlqError as error:
            errors.append(str(error))
    return WorkerReport(versions(), *errors)
