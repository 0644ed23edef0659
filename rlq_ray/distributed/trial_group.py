"""One training of a sweep on several workers, which Ray Train starts; the calling process takes no CPU.

The first worker keeps checkpoints and curve, as a training with one worker does, and waits after every evaluation until
the caller has passed it on: a training that is stopped early does not move after that.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import ray
import ray.train.torch
import torch

from rlq_ray.build_stamp import require_package, submitted_hash
from rlq_ray.collectives import World, anyone
from rlq_ray.config.load import build_config
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.distributed.driver import cause_of, make_trainer
from rlq_ray.distributed.progress import POLL_S, Relay, nobody, start_board
from rlq_ray.distributed.threads import beside_main_thread
from rlq_ray.distributed.trial_part import Keeper, train_part
from rlq_ray.distributed.trial_task import Evaluated, TrialTask
from rlq_ray.distributed.worker import giving_up_for_good, this_worker
from rlq_ray.storage import locate

PATIENCE_S = 45.0
"""How long workers have to end once they were stopped; less than a trial's actor is waited for."""


@dataclass(frozen=True)
class _GroupTask:
    """What every worker is sent."""

    trial: TrialTask
    relay: Any
    package: str | None


def train_in_group(task: TrialTask, config: ExperimentConfig, keeper: Keeper) -> None:
    """Train to the end on workers of its own, and report every evaluation that the keeper does not have yet.

    What the report raises ends the workers, too.

    Raises:
        UsageError: the cluster cannot place the workers.
        DataError, CheckpointError, TrainingError: what they could not go on from.
    """
    relay = start_board(Relay)
    try:
        group = _GroupTask(task, relay, submitted_hash())
        trainer = make_trainer(_train_worker, group, config.workers, name=task.run, store=locate(task.store))
        outcome = beside_main_thread(trainer.fit, "rlq-train")
        try:
            _pass_on(relay, outcome, keeper)
        except BaseException:
            ray.get(relay.stop.remote())
            with contextlib.suppress(Exception):  # that which stopped it says more
                outcome.exception(timeout=PATIENCE_S)
            raise
        if isinstance(error := outcome.exception(), Exception):
            raise cause_of(error, relay) from error
        outcome.result()
    finally:
        ray.kill(relay)


def _pass_on(relay: Any, outcome: Future[Any], keeper: Keeper) -> None:
    last = keeper.curve[-1].epoch if keeper.curve else 0
    while not outcome.done():
        with contextlib.suppress(ray.exceptions.RayError):  # the relay may come back, and know nothing
            for evaluated in ray.get(relay.exchange.remote(last)):
                keeper.report(evaluated)
                last = evaluated.epoch
        with contextlib.suppress(TimeoutError):
            outcome.exception(timeout=POLL_S)


def _train_worker(group: _GroupTask) -> None:
    """Train on one of the workers."""
    world, device = this_worker(), ray.train.torch.get_device()

    def hand_over(evaluated: Evaluated) -> None:
        ray.get(group.relay.hand_over.remote(evaluated))

    with giving_up_for_good(group.relay):
        require_package(group.package)
        keeper = _GroupKeeper(
            group.trial, nobody if world.rank else hand_over, relay=group.relay, world=world, device=device
        )
        keeper.take_up()
        config = build_config(group.trial.settings)
        if not keeper.is_whole(config.train.epochs):
            train_part(group.trial, config, keeper, world, device)


@dataclass
class _GroupKeeper(Keeper):
    """A keeper whose first worker asks after every evaluation whether that was all, and tells the others."""

    relay: Any = None
    world: World = field(default_factory=World)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def is_enough(self) -> bool:
        """Tell it on every worker alike."""
        is_over = self.world.rank == 0 and ray.get(self.relay.is_over.remote())
        return anyone(is_over or super().is_enough(), self.device)
