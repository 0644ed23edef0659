"""Starts a training on the Ray cluster that the process is connected to, and keeps its record.

One driver serves a single run and a trial of a sweep.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import ray
import ray.train
from ray.train import CheckpointConfig, FailureConfig, Result, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from rlq_ray.build_stamp import submitted_hash
from rlq_ray.config.load import to_dict
from rlq_ray.config.schema import ExperimentConfig, WorkersConfig
from rlq_ray.distributed.progress import POLL_S, Progress, nobody, start_board, watched
from rlq_ray.distributed.reporting import SCORE
from rlq_ray.distributed.runs import RunEntry, keep_run, runs_folder
from rlq_ray.distributed.threads import beside_main_thread
from rlq_ray.distributed.worker import WorkerTask, train_worker
from rlq_ray.errors import RlqError, TrainingError, UsageError
from rlq_ray.storage import Location, probe_writable

PATIENCE_S = 60.0
"""How long an interrupted training may take for its checkpoint."""
RAY_TRAIN = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # a checkpoint counts from the controller's next look, 2 s by default
    "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "1",  # 5 s by default, of notices that may be 30 s
}
"""What Ray Train takes from the environment of the driver, unless it is set."""


@dataclass(frozen=True)
class Tracking:
    """Where a run is written down: the store's URI and the run's id there, made by the driver."""

    uri: str
    run_id: str


def launch(
    config: ExperimentConfig,
    *,
    entry: RunEntry,
    store: Location,
    tracking: Tracking | None = None,
    show: Callable[[Progress], None] | None = None,
    tell: Callable[[str], None] = nobody,
) -> RunEntry:
    """Train to the end and return the finished run; at an interrupt, keep a checkpoint and pass it on.

    Args:
        config: of the training.
        entry: the run's, from `claim_name`; if it has checkpoints already, the training goes on from the last.
        store: keeps checkpoints and the register of runs.
        tracking: the tracker's run, made by the caller, who also ends it.
        show: is called with the progress, from another thread.
        tell: is told, from any thread, why a training pauses or what it waits for.

    Raises:
        UsageError: the cluster cannot place the workers.
        StorageError: the store cannot be written.
        PackageError: a worker runs other code than this job.
        TrainingError: the training failed for good.
    """
    plan_workers(config.workers)
    probe_writable(store)
    settings = to_dict(config)
    entry = replace(entry, state="running", config=settings, mlflow_run_id=tracking.run_id if tracking else None)
    keep_run(store, entry)
    board = start_board()
    uri = tracking.uri if tracking else None
    task = WorkerTask(entry.name, settings, store.uri, board, uri, entry.mlflow_run_id, submitted_hash())
    try:
        with watched(board, show):
            trainer = make_trainer(train_worker, task, config.workers, name=entry.name, store=store)
            outcome = beside_main_thread(lambda: _fit_to_end(trainer, board, tell), "rlq-train")
            try:
                result = outcome.result()
            except (KeyboardInterrupt, SystemExit):
                keep_run(store, replace(entry, state="stopped"))  # first, since there may be little time
                _wind_up(board, outcome, tell)
                raise
    except Exception as error:
        keep_run(store, replace(entry, state="failed"))
        raise cause_of(error, board) from error
    finally:
        ray.kill(board)
    checkpoint, metrics = max(result.best_checkpoints, key=lambda pair: pair[1][SCORE])
    scheme = "file://" if store.is_local else "s3://"
    numbers = {key: float(value) for key, value in metrics.items() if isinstance(value, int | float)}
    finished = replace(
        entry,
        state="finished",
        checkpoint=f"{scheme}{checkpoint.path}",
        epoch=int(metrics["epoch"]),
        metrics={key: value for key, value in numbers.items() if "/" in key},
    )
    keep_run(store, finished)
    return finished


def _fit_to_end(trainer: TorchTrainer, board: Any, tell: Callable[[str], None]) -> Result:
    """Train until the end; workers that stopped because a node of theirs is taken back begin again elsewhere."""
    while True:
        result = trainer.fit()
        if result.return_value == "finished" or ray.get(board.is_to_stop.remote()):
            return result
        tell("a node is taken back: going on from this step on others, as soon as there is room")


def _wind_up(board: Any, outcome: Future[Result], tell: Callable[[str], None]) -> None:
    """Have workers that train keep a checkpoint and end, and wait for it; a second interrupt ends the waiting."""
    deadline_s = time.monotonic() + PATIENCE_S
    with contextlib.suppress(ray.exceptions.RayError):
        if ray.get(board.read.remote(), timeout=PATIENCE_S) is None:
            return  # they have not begun
    tell("stopping: waiting for a checkpoint of this step")
    while not outcome.done() and time.monotonic() < deadline_s:
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(board.tell_to_stop.remote(), timeout=POLL_S)  # again and again: one that comes back has forgotten
        with contextlib.suppress(TimeoutError):
            outcome.exception(timeout=POLL_S)


def make_trainer(
    train: Callable[[Any], object], task: object, workers: WorkersConfig, *, name: str, store: Location
) -> TorchTrainer:
    """Make what has Ray Train call `train` with the task on every worker, and again after a worker died.

    Raises:
        UsageError: the cluster is too small.
    """
    for variable, value in RAY_TRAIN.items():
        os.environ.setdefault(variable, value)
    runs = runs_folder(store)
    return TorchTrainer(
        train,
        train_loop_config=task,
        scaling_config=plan_workers(workers),
        run_config=RunConfig(
            name=name,
            storage_path=runs.path,
            storage_filesystem=None if store.is_local else store.filesystem(),
            failure_config=FailureConfig(max_failures=workers.max_failures),
            checkpoint_config=CheckpointConfig(
                num_to_keep=workers.checkpoints_to_keep,
                checkpoint_score_attribute=SCORE,
                checkpoint_score_order="max",
            ),
        ),
    )


def plan_workers(workers: WorkersConfig) -> ScalingConfig:
    """Decide on GPUs, and refuse what the cluster could never place.

    Raises:
        UsageError: the cluster is too small.
    """
    nodes = living_nodes()
    gpus = sum(node.get("GPU", 0) for node in nodes)
    least = workers.counts[0]
    use_gpu = gpus >= least if workers.gpu is None else workers.gpu
    places = sum(int(node.get("CPU", 0) // workers.cpus) for node in nodes)
    if least > places:
        have = " + ".join(f"{node.get('CPU', 0):g}" for node in nodes)
        raise UsageError(
            f"{least} workers of {workers.cpus:g} CPUs do not fit, the cluster's nodes have {have} CPUs: "
            "lower workers.count or workers.cpus, or add nodes"
        )
    if use_gpu and least > gpus:
        raise UsageError(
            f"{least} workers with a GPU each, but the cluster has {gpus:g} GPUs: lower workers.count, "
            "set workers.gpu=false, or add nodes"
        )
    return ScalingConfig(
        num_workers=workers.count if least == workers.count else (least, workers.count),
        elastic_resize_monitor_interval_s=workers.resize_every_s,
        use_gpu=use_gpu,
        resources_per_worker={"CPU": workers.cpus, **({"GPU": 1} if use_gpu else {})},
    )


def living_nodes() -> list[dict[str, float]]:
    """Give the resources of every node of the connected cluster."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def describe_nodes() -> str:
    """Say what the connected cluster has."""
    nodes = living_nodes()
    sums = {kind: sum(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU")}
    have = " and ".join(f"{amount:g} {kind}" for kind, amount in sums.items() if amount) or "no CPU"
    return f"{have} on {len(nodes)} node{'' if len(nodes) == 1 else 's'}"


def cause_of(error: Exception, board: Any) -> Exception:
    """Find what a worker could not go on from; an error of ours keeps its type and words."""
    with contextlib.suppress(ray.exceptions.RayError):
        fatal = ray.get(board.fatal.remote(), timeout=10)
        if fatal:
            return fatal[0](fatal[1])
    if isinstance(error, RlqError):
        return error
    lines = str(error).strip().splitlines()
    return TrainingError(
        f"the training failed: {lines[-1] if lines else type(error).__name__}; "
        "see --debug for the whole story, and go on with --resume once it is mended"
    )
