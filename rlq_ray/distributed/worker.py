"""What every Ray Train worker runs: configuration → parts → `fit`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch

from rlq_ray.collectives import World
from rlq_ray.config.load import build_config
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.distributed.loading import LoadingMetrics
from rlq_ray.distributed.reporting import Reporter
from rlq_ray.errors import CheckpointError, DataError, TrainingError, UsageError
from rlq_ray.storage import locate
from rlq_ray.tracking import NullTracker, Tracker
from rlq_ray.train.build import Parts, build
from rlq_ray.train.checkpoint import CheckpointCard, read_state
from rlq_ray.train.features import Embedding
from rlq_ray.train.loop import Plan, fit
from rlq_ray.train.validation import Validation

FATAL = (UsageError, DataError, CheckpointError, TrainingError)
"""What a restart cannot mend; a store or tracker that is away may be back."""


@dataclass(frozen=True)
class WorkerTask:
    """What the driver sends to every worker; without a run nothing is tracked."""

    config: dict[str, Any]
    board: Any
    tracking_uri: str | None
    run_id: str | None


def train_worker(task: WorkerTask) -> None:
    """Train on this worker; a cause that no restart can mend is told to the board, so that restarts end at once."""
    fatal = ray.get(task.board.fatal.remote())
    if fatal:
        raise fatal[0](fatal[1])
    try:
        _train(task)
    except FATAL as error:
        ray.get(task.board.give_up.remote(type(error), str(error)))
        raise


def _train(task: WorkerTask) -> None:
    config = build_config(task.config)
    context = ray.train.get_context()
    world = World(context.get_world_rank(), context.get_world_size())
    device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(max(1, int(config.workers.cpus)))
    parts = build(config, world=world, device=device)
    _resume(parts)
    validation = Validation(parts, Embedding.of(config, parts.augmenter, device), config.evaluate, world)
    tracker = _open_tracker(task, world)
    tracker.set_tags({f"data.{name}.drawn_from": phase.loader.sampler for name, phase in parts.state.phases.items()})
    reporter = Reporter(
        world=world,
        tracker=tracker,
        board=task.board,
        timeline=parts.timeline,
        loading=LoadingMetrics({name: phase.loader.counts for name, phase in parts.state.phases.items()}),
        card=lambda epoch, step, metrics: _card(config, parts, epoch, step, metrics),
        select_on=validation.select_on,
        log_every_steps=config.train.log_every_steps,
    )
    plan = Plan(parts.timeline, config.optimizer, config.train, validation.select_on, device, world.size)
    try:
        fit(parts.state, plan, validation, reporter)
    finally:
        parts.close()
        tracker.detach()


def _resume(parts: Parts) -> None:
    checkpoint = ray.train.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as folder:
            parts.state.load_state_dict(read_state(locate(folder)))


def _open_tracker(task: WorkerTask, world: World) -> Tracker:
    if world.rank or task.tracking_uri is None or task.run_id is None:
        return NullTracker()
    from rlq_ray.tracking.mlflow_tracker import MlflowStore  # takes a second to import, and one worker needs it

    return MlflowStore(task.tracking_uri).attach(task.run_id)


def _card(
    config: ExperimentConfig, parts: Parts, epoch: int, step: int, metrics: Mapping[str, float]
) -> CheckpointCard:
    return CheckpointCard(
        config=config,
        classes=parts.split.classes,
        data_hash=parts.target.manifest.content_hash,
        epoch=epoch,
        step=step,
        metrics=metrics,
    )
