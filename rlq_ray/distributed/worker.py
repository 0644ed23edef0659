"""What every Ray Train worker runs: one worker's part of a training, reported to Ray Train."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
from ray.train import Checkpoint

from rlq_ray.build_stamp import require_package
from rlq_ray.collectives import World
from rlq_ray.config.load import build_config
from rlq_ray.distributed.log_lines import log_lines
from rlq_ray.distributed.notice import Notice
from rlq_ray.distributed.training import open_tracker, run_training
from rlq_ray.errors import CheckpointError, DataError, PackageError, TrainingError, UsageError
from rlq_ray.storage import locate
from rlq_ray.train.checkpoint import read_state
from rlq_ray.train.loop import Ended

FATAL = (UsageError, DataError, CheckpointError, TrainingError, PackageError)
"""What a restart cannot mend; a store or tracker that is away may be back."""


@dataclass(frozen=True)
class WorkerTask:
    """What the driver sends to every worker.

    Without a `run_id` nothing is tracked. `package` is the hash of the code that the worker must run, if it is a job's.
    """

    run: str
    config: dict[str, Any]
    store: str
    board: Any
    tracking_uri: str | None
    run_id: str | None
    package: str | None


def train_worker(task: WorkerTask) -> Ended:
    """Train on this worker."""
    world = this_worker()
    with giving_up_for_good(task.board), log_lines(task.run, task.run_id, world):
        return _train(task, world)


@contextlib.contextmanager
def giving_up_for_good(board: Any) -> Iterator[None]:
    """Tell the board of a cause that no restart can mend, so that restarts end at once."""
    fatal = ray.get(board.fatal.remote())
    if fatal:
        raise fatal[0](fatal[1])
    try:
        yield
    except FATAL as error:
        ray.get(board.give_up.remote(type(error), str(error)))
        raise


def this_worker() -> World:
    """Say which of Ray Train's workers this is."""
    context = ray.train.get_context()
    return World(context.get_world_rank(), context.get_world_size())


def _train(task: WorkerTask, world: World) -> Ended:
    require_package(task.package)
    return run_training(
        build_config(task.config),
        run=task.run,
        world=world,
        device=ray.train.torch.get_device(),
        store=locate(task.store),
        tracker=open_tracker(task.tracking_uri, task.run_id, world),
        tell=task.board.tell.remote,
        keep=_report_to_ray_train,
        state=_last_state(),
        should_stop=Notice(task.board, world),
    )


def _report_to_ray_train(report: Mapping[str, float], name: str, folder: Path | None) -> None:
    checkpoint = None if folder is None else Checkpoint.from_directory(folder)
    ray.train.report(dict(report), checkpoint=checkpoint, checkpoint_dir_name=name)


def _last_state() -> dict[str, Any] | None:
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        return read_state(locate(folder))
