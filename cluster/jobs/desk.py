"""The desk where jobs are handed in, looked at, followed and stopped: Ray's Jobs API, with one line for any error."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import requests
from ray.job_submission import JobSubmissionClient, JobType

from cluster.jobs.record import JobRecord, record_of
from cluster.jobs.request import KEY, STOP_GRACE_S, JobRequest
from cluster.jobs.wheel import Wheel
from rlq_ray.errors import ServiceError, UsageError

POLL_S = 1.0
AGENT_PATIENCE_S = 60.0
"""How long a head that has just started may take to receive jobs."""
OUTAGE_PATIENCE_S = 120.0
"""How long a dashboard may be away from who follows a job."""
KILL_MARGIN_S = 60.0
"""Time beyond that which a stopped job has until it is killed."""


class JobDesk:
    """The jobs of one cluster."""

    def __init__(self, client: JobSubmissionClient) -> None:
        self._client = client

    def submit(self, request: JobRequest, wheel: Wheel, *, again: bool = False) -> str:
        """Hand a job in and return its id.

        Args:
            request: what it does.
            wheel: the code that it runs.
            again: whether the same may be under way.

        Raises:
            UsageError: the same is under way.
            ServiceError: the cluster does not take it.
        """
        jobs = self._submissions()
        same = [job for job in jobs if (job.metadata or {}).get(KEY) == request.key]
        under_way = [job for job in same if not job.status.is_terminal()]
        if under_way and not again:
            raise UsageError(_twice(under_way[0].submission_id))
        job_id = request.job_id({job.submission_id for job in jobs})
        with tempfile.TemporaryDirectory(prefix="rlq-submit-") as folder:
            package = Path(folder) / f"{wheel.name.removesuffix('.whl')}.zip"
            package.write_bytes(wheel.content)
            # As working directory: of a wheel among py_modules Ray would install all dependencies again, by whatever
            # `pip` is in the node's PATH, and would know it by its name alone.
            runtime = {"working_dir": str(package), "env_vars": request.environment(job_id)}
            self._hand_in(request, job_id, runtime)
        return job_id

    def _hand_in(self, request: JobRequest, job_id: str, runtime: dict[str, Any]) -> None:
        deadline_s = time.monotonic() + AGENT_PATIENCE_S
        while True:
            try:
                self._client.submit_job(
                    entrypoint=request.entrypoint,
                    submission_id=job_id,
                    runtime_env=runtime,
                    metadata=request.metadata(),
                )
            except (RuntimeError, requests.RequestException) as error:
                if "already exists" in str(error):
                    raise UsageError(_twice(job_id)) from error
                if "No available agent" not in str(error):
                    raise ServiceError(f"the cluster refuses the job ({_first_line(error)}): try again") from error
                if time.monotonic() > deadline_s:
                    raise ServiceError(
                        "the cluster's head has no agent that takes jobs: see dashboard_agent.log in its logs; "
                        "mostly its port is taken, so start the head with another --dashboard-agent-listen-port"
                    ) from error
            else:
                return
            time.sleep(POLL_S)

    def all(self) -> list[JobRecord]:
        """Return all jobs that were handed in, the latest first."""
        return sorted(map(record_of, self._submissions()), key=lambda job: job.since_s, reverse=True)

    def find(self, job_id: str) -> JobRecord:
        """Return a job.

        Raises:
            UsageError: there is none.
        """
        with self._asking(job_id):
            return record_of(self._client.get_job_info(job_id))

    def logs(self, job_id: str) -> str:
        """Return all that a job has written.

        Raises:
            UsageError: there is no such job.
        """
        with self._asking(job_id):
            return str(self._client.get_job_logs(job_id))

    def follow(self, job_id: str, write: Callable[[str], object]) -> JobRecord:
        """Pass on what a job writes, from its beginning, until it ends; return it then.

        Raises:
            UsageError: there is no such job.
            ServiceError: the dashboard is gone for too long.
        """
        self.find(job_id)
        tail = _Tail(self._client, job_id, write)
        reached_s = time.monotonic()
        while True:
            try:
                asyncio.run(tail.follow())
                job = self.find(job_id)
                reached_s = time.monotonic()
                if job.is_over:
                    return job
            except (ServiceError, RuntimeError, OSError, aiohttp.ClientError) as error:
                if time.monotonic() - reached_s > OUTAGE_PATIENCE_S:
                    raise ServiceError(
                        f"the dashboard is gone ({_first_line(error)}): job {job_id} may go on, see `rlq jobs` later"
                    ) from error
            time.sleep(POLL_S)

    def stop(self, job_id: str) -> JobRecord:
        """Stop a job, wait until it has ended, and return it; one that had ended is only returned.

        Raises:
            UsageError: there is no such job.
            ServiceError: it does not end.
        """
        if (job := self.find(job_id)).is_over:
            return job
        with self._asking(job_id):
            self._client.stop_job(job_id)
        deadline_s = time.monotonic() + STOP_GRACE_S + KILL_MARGIN_S
        while time.monotonic() < deadline_s:
            time.sleep(POLL_S)
            if (job := self.find(job_id)).is_over:
                return job
        raise ServiceError(f"job {job_id} does not end: see the logs of Ray's head, and call again")

    def _submissions(self) -> list[Any]:
        with self._asking():
            return [job for job in self._client.list_jobs() if job.type == JobType.SUBMISSION]

    @contextlib.contextmanager
    def _asking(self, job_id: str = "") -> Iterator[None]:
        try:
            yield
        except (RuntimeError, requests.RequestException) as error:
            if job_id and "404" in str(error):
                raise UsageError(f"there is no job '{job_id}': `rlq jobs` lists them") from error
            raise ServiceError(f"the dashboard does not do as asked ({_first_line(error)}): call again") from error


class _Tail:
    """What a job writes; after a break it goes on where it was."""

    def __init__(self, client: JobSubmissionClient, job_id: str, write: Callable[[str], object]) -> None:
        self._client = client
        self._job_id = job_id
        self._write = write
        self._written = 0

    async def follow(self) -> None:
        """Pass on what is new until the job ends or the connection breaks."""
        position = 0
        async for text in self._client.tail_job_logs(self._job_id):
            new = text[max(0, self._written - position) :]
            position += len(text)
            if new:
                self._write(new)
                self._written += len(new)


def _twice(job_id: str) -> str:
    return (
        f"the same command with the same code is under way as job {job_id}: follow it by `rlq logs {job_id} --follow`, "
        "or submit it once more by --again"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
