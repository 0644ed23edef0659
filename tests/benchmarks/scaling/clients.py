"""Sixty-four workers' reads, and sixty-four trainings' losses, sent to real servers at a given pace.

Every client has what a worker has: its own data set and the plan of its rank, read by the product's threads; its own
run and tracker. Only decoding is left out, since that of 64 GPUs does not fit two cores. Clients are threads of a few
processes, which share the machine with the servers.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from rlq_ray.config.schema import BatchConfig, DataConfig
from rlq_ray.data import DataSet, TargetLoader, split_training
from rlq_ray.data.read_ahead import EpochPlan, ReadAhead
from rlq_ray.tracking import MetricPoint
from rlq_ray.tracking.mlflow_tracker import MlflowStore
from scaling.calls import Calls, counted_calls

CLIENTS, PROCESSES = 64, 4
IMAGES_PER_IDENTITY = 4
"""Images of a client's step: it has one identity of each batch."""
POINTS, LOG_EVERY = 20, 10
"""Points of a step, and steps that are written together."""


@dataclass(frozen=True)
class Pace:
    """How fast the clients are together; infinity is as fast as they can."""

    per_s: float
    seconds: float

    def share(self) -> float:
        """Give one client's seconds between two turns."""
        return CLIENTS / self.per_s


@dataclass(frozen=True)
class Read:
    """What clients read, all together; `stall_share` is the share of their time that they waited for data."""

    images_per_s: float
    requests_per_s: float
    bytes_per_s: float
    stall_share: float


@dataclass(frozen=True)
class Written:
    """What trackers wrote, all together; `lag_s` is the time from the last point to its being stored."""

    calls_per_s: float
    points: int
    lag_s: float
    lost: int


def read_together(uri: str, window_mb: float, pace: Pace) -> Read:
    """Read at a pace of so many images per second."""
    found = _in_processes(_read_as, [(uri, window_mb, pace, rank) for rank in range(CLIENTS)])
    seconds = max(one["seconds"] for one in found)
    total = {key: sum(one[key] for one in found) for key in ("images", "requests", "bytes", "stall_s", "seconds")}
    return Read(
        total["images"] / seconds,
        total["requests"] / seconds,
        total["bytes"] / seconds,
        total["stall_s"] / total["seconds"],
    )


def write_together(uri: str, run_ids: Sequence[str], pace: Pace) -> Written:
    """Write losses at a pace of so many windows of steps per second."""
    found = _in_processes(_write_as, [(uri, run_id, pace, rank) for rank, run_id in enumerate(run_ids)])
    seconds = max(one["seconds"] for one in found)
    calls, points = (sum(one[key] for one in found) for key in ("calls", "points"))
    return Written(
        calls / seconds, int(points), max(one["lag_s"] for one in found), int(sum(one["lost"] for one in found))
    )


def _read_as(start: threading.Barrier, uri: str, window_mb: float, pace: Pace, rank: int) -> dict[str, float]:
    dataset = DataSet.open(uri)
    training = split_training(dataset.index, pose_clusters=0, validation_fraction=0)
    loader = TargetLoader(
        dataset,
        training.train_rows,
        training.classes,
        batch=BatchConfig(identities=CLIENTS, images_per_identity=IMAGES_PER_IDENTITY),
        data=DataConfig(target=uri, canvas_height=384, canvas_width=192, decode_threads=1, window_mb=window_mb),
        seed=0,
        rank=rank,
        world_size=CLIENTS,
    )
    steps = loader.steps_per_epoch
    plans = {epoch: EpochPlan.of(loader.rows_of_epoch(epoch), dataset.index.group) for epoch in range(2)}
    ahead = ReadAhead(
        dataset, lambda epoch: plans[epoch % 2], steps=steps, masks=False, threads=2, batches=8, is_kept=False
    )
    start.wait()
    began_s, stall_s, step = time.monotonic(), 0.0, 0
    before = dataset.counts()
    while (now_s := time.monotonic()) < began_s + pace.seconds:
        ahead.before(step)
        dataset.read_rows(plans[step // steps % 2].rows[step % steps])
        stall_s += time.monotonic() - now_s
        ahead.after(step)
        step += 1
        _wait_until(began_s + step * IMAGES_PER_IDENTITY * pace.share())
    seconds, counts = time.monotonic() - began_s, dataset.counts()
    ahead.stop()
    dataset.abandon_reads()
    ahead.close()
    loader.close()
    return {
        "images": step * IMAGES_PER_IDENTITY,
        "requests": counts.requests - before.requests,
        "bytes": counts.bytes - before.bytes,
        "stall_s": stall_s,
        "seconds": seconds,
    }


def _write_as(start: threading.Barrier, uri: str, run_id: str, pace: Pace, rank: int) -> dict[str, float]:
    tracker = MlflowStore(uri).attach(run_id)
    start.wait()
    began_s, window = time.monotonic(), 0
    _wait_until(began_s + rank / CLIENTS * pace.share())  # trainings do not begin at the same moment
    while time.monotonic() < began_s + pace.seconds:
        first = window * LOG_EVERY
        tracker.log_metric_history(
            MetricPoint(f"cap/term{term}", float(step), step)
            for step in range(first, first + LOG_EVERY)
            for term in range(POINTS)
        )
        window += 1
        _wait_until(began_s + (window + rank / CLIENTS) * pace.share())
    seconds = time.monotonic() - began_s
    calls, ended_s = _calls.answered[run_id], time.monotonic()
    lost = tracker.detach()
    return {
        "calls": calls,
        "points": window * LOG_EVERY * POINTS,
        "seconds": seconds,
        "lag_s": time.monotonic() - ended_s,
        "lost": lost,
    }


def _wait_until(moment_s: float) -> None:
    time.sleep(max(0.0, moment_s - time.monotonic()))


def _in_processes(act: Callable[..., dict[str, float]], tasks: Sequence[tuple[Any, ...]]) -> list[dict[str, float]]:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(len(tasks))
    parts = [tasks[number::PROCESSES] for number in range(PROCESSES)]
    with context.Pool(PROCESSES, initializer=_keep, initargs=(start,)) as pool:
        return [one for part in pool.map(_in_threads, [(act, part) for part in parts], chunksize=1) for one in part]


def _keep(start: threading.Barrier) -> None:
    global _start
    _start = start


def _in_threads(job: tuple[Callable[..., dict[str, float]], Sequence[tuple[Any, ...]]]) -> list[dict[str, float]]:
    global _calls
    act, tasks = job
    with counted_calls() as _calls, ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(lambda task: act(_start, *task), tasks))


_start: threading.Barrier
_calls: Calls
