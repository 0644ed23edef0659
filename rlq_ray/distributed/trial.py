"""One training of a sweep, here or on workers of its own, however often it is called. Knows nothing of Ray Tune."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace

import torch

from rlq_ray.collectives import World
from rlq_ray.config.load import build_config
from rlq_ray.distributed.progress import nobody
from rlq_ray.distributed.runs import RunEntry, find_run, keep_run
from rlq_ray.distributed.trial_group import train_in_group
from rlq_ray.distributed.trial_part import Keeper, train_part
from rlq_ray.distributed.trial_task import FINAL, Evaluated, TrialEnd, TrialTask
from rlq_ray.errors import (
    CheckpointError,
    DataError,
    DivergedError,
    NotFoundError,
    PackageError,
    TrainingError,
    UsageError,
)
from rlq_ray.storage import locate


def train_trial(task: TrialTask, report: Callable[[Evaluated], None]) -> TrialEnd:
    """Train to the end, or go on where an earlier call was cut off; one that had ended is only reported again.

    A training with one worker takes place in this process, which may train others after it; one with several has Ray
    Train start them, and this process takes no CPU.

    Args:
        task: what to train.
        report: takes every evaluation, those of earlier calls too; what it raises ends the call, not the training.

    Raises:
        StorageError, TrackingError: a place that may be back later.
    """
    store = locate(task.store)
    keeper = Keeper(task, report)
    keeper.take_up()
    entry = find_run(store, task.run)
    if entry and entry.state in FINAL:
        return TrialEnd(entry.state, entry.reason)
    keep_run(store, RunEntry(task.run, "running", task.settings, task.run_id))
    end = _train(task, keeper)
    keep_end(task, end)
    gc.collect()  # a data set and its row groups hold each other, a GB that the next training needs
    return end


def keep_end(task: TrialTask, end: TrialEnd) -> None:
    """Write down how a training ended, with its best checkpoint so far, once it no longer moves.

    Other checkpoints are deleted after that, if nobody can go on from the latest any more.

    Raises:
        StorageError: the store cannot be written.
    """
    keeper = Keeper(task, nobody)
    keeper.take_up()
    entry = RunEntry(task.run, end.state, task.settings, task.run_id, reason=end.reason)
    if not keeper.curve:
        keep_run(locate(task.store), entry)
        return
    best = keeper.best()
    metrics = {key: value for key, value in best.metrics.items() if "/" in key}
    entry = replace(entry, checkpoint=keeper.checkpoint(best.epoch).uri, epoch=best.epoch, metrics=metrics)
    keep_run(locate(task.store), entry)
    if end.state in FINAL and not task.until_epoch:
        keeper.drop_but({best.epoch})


def _train(task: TrialTask, keeper: Keeper) -> TrialEnd:
    try:
        config = build_config(task.settings)
        if keeper.is_whole(config.train.epochs):
            return TrialEnd("finished")
        if config.workers.count > 1:
            train_in_group(task, config, keeper)
        else:
            train_part(task, config, keeper, World(), torch.device("cuda" if task.on_gpu else "cpu"))
    except DivergedError as error:
        return TrialEnd("diverged", str(error))
    except (UsageError, DataError, CheckpointError, TrainingError, NotFoundError, PackageError) as error:
        return TrialEnd("failed", str(error))
    return TrialEnd("finished")
