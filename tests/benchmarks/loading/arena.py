"""Runs contenders one at a time, each reader in a fresh process, and measures them from outside."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from loading.contenders import Contender
from loading.host import warm_memory
from loading.job import Job
from loading.processes import resident_bytes
from loading.reader import Reader, write_data

MEMORY_EVERY_S = 0.1


@dataclass(frozen=True)
class Measurement:
    """One pass of one contender, all its readers together. MB are 10⁶ bytes."""

    images_per_s: float
    """From the first batch to the last."""
    cpu_us: float
    """User and system microseconds per image of all its processes, from the first batch to the end."""
    first_batch_s: float
    """From building the loader; the slowest reader's."""
    whole_images_per_s: float
    """From building the loader to the last batch, so that what is read before the first batch counts as well."""
    whole_cpu_us: float
    """Microseconds per image from building the loader to the end."""
    memory_mb: float
    """Peak of the proportional set size, less what the processes had before they built the loader."""
    images: int


@dataclass(frozen=True)
class Arena:
    """Where passes run."""

    pythons: Mapping[str, Path]
    """Interpreter of the product and of the peers."""
    photos: Mapping[int, Path]
    """Folders of photos, by how often each photo is in them."""
    store_uri: str
    """Bucket of the local S3 server."""
    environment: Mapping[str, str]
    """Variables by which everybody finds that server, beside this process's own."""
    workers: int

    def write(self, contender: Contender) -> None:
        """Make the data set that a contender reads.

        Raises:
            PassError: its writer failed.
        """
        with self._jobs(contender, seed=0) as jobs:
            write_data(self._command("write", contender, jobs[0]), self._variables(jobs[0]))

    def measure(self, contender: Contender, seed: int) -> Measurement:
        """Measure one pass.

        Raises:
            PassError: a reader failed or hangs.
        """
        with self._ready("measure", contender, seed) as readers:
            pids = [reader.pid for reader in readers]
            base = resident_bytes(pids)
            warm_memory()
            with _peak_memory(pids) as peak:
                findings = _pass(readers)
        return _combine(findings, peak[0] - base)

    def check(self, contender: Contender) -> tuple[int, Counter[str]]:
        """Count in one pass the images whose pixels are wrong, and how often each of the others came.

        Raises:
            PassError: a reader failed or hangs.
        """
        with self._ready("check", contender, seed=0) as readers:
            findings = _pass(readers)
        times: Counter[str] = Counter()
        for finding in findings:
            times.update(finding["times"])
        return sum(finding["wrong"] for finding in findings), times

    @contextmanager
    def _ready(self, stage: Literal["measure", "check"], contender: Contender, seed: int) -> Iterator[list[Reader]]:
        """Start a contender's readers, up to where they build their loaders."""
        with self._jobs(contender, seed) as jobs, ExitStack() as stack:
            readers = [
                stack.enter_context(
                    Reader(self._command(stage, contender, job), self._variables(job), Path(f"{job.scratch}.log"))
                )
                for job in jobs
            ]
            for reader in readers:
                reader.hear()
            yield readers
            for reader in readers:
                reader.go_on()

    @contextmanager
    def _jobs(self, contender: Contender, seed: int) -> Iterator[list[Job]]:
        """Give each reader its job, with a scratch folder that is gone afterwards."""
        # In /tmp, because Ray's sockets lie below it and must have short names.
        with tempfile.TemporaryDirectory(prefix="rlq-b-", dir="/tmp", ignore_cleanup_errors=True) as folder:
            scratch = [Path(folder) / str(rank) for rank in range(contender.readers)]
            for path in scratch:
                path.mkdir()
            yield [
                Job(
                    variant=contender.variant,
                    photos=str(self.photos[contender.times]),
                    uri=f"{self.store_uri}/{contender.module}-{contender.data}",
                    scratch=str(path),
                    seed=seed,
                    workers=self.workers,
                    rank=rank,
                    world_size=contender.readers,
                )
                for rank, path in enumerate(scratch)
            ]

    def _command(self, stage: str, contender: Contender, job: Job) -> list[str]:
        python = str(self.pythons[contender.python])
        return [python, "-m", "loading.one_pass", stage, contender.module, job.to_json()]

    def _variables(self, job: Job) -> dict[str, str]:
        return {**os.environ, **self.environment, "TMPDIR": str(Path(job.scratch).parent)}


def _pass(readers: Sequence[Reader]) -> list[dict[str, Any]]:
    for reader in readers:
        reader.go_on()
    return [json.loads(reader.hear()) for reader in readers]


@contextmanager
def _peak_memory(pids: Sequence[int]) -> Iterator[list[int]]:
    """Sample the memory of some processes and their descendants; after the block the list holds the peak."""
    peak, is_over = [resident_bytes(pids)], threading.Event()

    def sample() -> None:
        while not is_over.wait(MEMORY_EVERY_S):
            peak[0] = max(peak[0], resident_bytes(pids))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield peak
        peak[0] = max(peak[0], resident_bytes(pids))
    finally:
        is_over.set()
        sampler.join()


def _combine(findings: Sequence[Mapping[str, float]], memory_bytes: int) -> Measurement:
    """Add up the readers; the clock runs from the first batch of any to the last of all."""
    begun, first = (min(one[name] for one in findings) for name in ("begun_at", "first_at"))
    last = max(one["last_at"] for one in findings)
    images = sum(one["images"] for one in findings)
    timed_images = images - sum(one["first_images"] for one in findings)
    return Measurement(
        images_per_s=timed_images / (last - first),
        cpu_us=1e6 * sum(one["cpu_s"] for one in findings) / timed_images,
        first_batch_s=max(one["first_at"] - one["begun_at"] for one in findings),
        whole_images_per_s=images / (last - begun),
        whole_cpu_us=1e6 * sum(one["whole_cpu_s"] for one in findings) / images,
        memory_mb=memory_bytes / 1e6,
        images=int(images),
    )
