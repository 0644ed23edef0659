"""The only training loop: `fit` → `run_epoch` → `train_step`.

Knows neither Ray nor MLflow, nor which phases there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from rlq_ray.collectives import average_gradients, average_running_statistics, step_if_finite
from rlq_ray.config.schema import OptimizerConfig, Staged, TrainConfig
from rlq_ray.errors import DivergedError
from rlq_ray.phases import Moment, Phase
from rlq_ray.train.schedule import Timeline, learning_rate
from rlq_ray.train.state import Best, TrainState


@dataclass(frozen=True)
class StepRecord:
    """What one optimiser step did; `terms` stay on the device until somebody reads them.

    `terms_N` are the weighted losses named by `names`, averaged over the workers; `images` counts those of all workers.
    """

    step: int
    phase: str
    names: tuple[str, ...]
    terms_N: Tensor
    learning_rate: float
    images: int


class Observer(Protocol):
    """Is told what happens; every call is made on every worker."""

    def after_step(self, record: StepRecord) -> None:
        """Take note of an optimiser step; must not wait for the device."""

    def after_epoch(self, state: TrainState, epoch: int, metrics: Mapping[str, float], *, is_best: bool) -> None:
        """Keep a checkpoint; `metrics` are those of the evaluation after `epoch` CAP epochs."""

    def after_stop(self, state: TrainState) -> None:
        """Keep a checkpoint between two evaluations, to be gone on from."""


Evaluate = Callable[[], Mapping[str, float]]
"""Measures the network as it is on the validation identities, alike on every worker."""
ShouldStop = Callable[[int], bool]
"""Tells, alike on every worker, whether to stop before a step instead of taking it."""
Ended = Literal["finished", "stopped"]
"""How a training ended: whole, or where it was asked to stop, with a checkpoint to go on from."""


def never(_step: int) -> bool:
    """Let a training go on to its end."""
    return False


@dataclass(frozen=True)
class Plan:
    """What `fit` carries out: the alternation, the learning rate, the rhythm, and the metric that chooses."""

    timeline: Timeline
    optimizer: Staged[OptimizerConfig]
    train: TrainConfig
    select_on: str
    device: torch.device
    world_size: int = 1


def fit(
    state: TrainState, plan: Plan, evaluate: Evaluate, observer: Observer, should_stop: ShouldStop = never
) -> Ended:
    """Train from where the state stands to the end, evaluating on the way, or until it should stop.

    Raises:
        DivergedError: a loss is no longer finite, and the parameters are those before it; or a feature is not.
    """
    kept_step = state.step
    while state.step < plan.timeline.total_steps:
        epoch = run_epoch(state, plan, observer, should_stop)
        if epoch is None:
            if state.step > kept_step:
                average_running_statistics(state.network)
                observer.after_stop(state)
            return "stopped"
        if epoch % plan.train.evaluate_every_epochs and epoch != plan.timeline.epochs:
            continue
        average_running_statistics(state.network)
        metrics = {**evaluate(), **state.comparison.take()}
        state.network.train()
        is_best = metrics[plan.select_on] > state.best.score
        if is_best:
            state.best = Best(metrics[plan.select_on], epoch)
        observer.after_epoch(state, epoch, metrics, is_best=is_best)
        kept_step = state.step
    return "finished"


def run_epoch(state: TrainState, plan: Plan, observer: Observer, should_stop: ShouldStop) -> int | None:
    """Train until a CAP epoch is complete and return how many are; None if it stopped before."""
    state.network.train()
    while not should_stop(step := state.step):
        phase = state.phases[plan.timeline.phase(step)]
        epoch = plan.timeline.epoch(step)
        rate = learning_rate(plan.optimizer.at(epoch), epoch=epoch, epochs=plan.timeline.epochs)
        observer.after_step(train_step(state, plan, phase, rate))
        state.comparison.after_step(step, phase.name, state.network)
        state.step += 1
        if plan.timeline.ends_epoch(step):
            return round(plan.timeline.epoch(state.step))
    return None


def train_step(state: TrainState, plan: Plan, phase: Phase, rate: float) -> StepRecord:
    """Take one optimiser step of one phase; its gradients, averaged over the workers, stay until the next."""
    set_learning_rate(state, rate)
    batch = phase.loader.next_batch().to(plan.device)
    state.optimizer.zero_grad(set_to_none=True)
    terms = phase.losses(batch, Moment(state.step, int(plan.timeline.epoch(state.step))))
    terms_N = torch.stack(list(terms.values()))
    terms_N.sum().backward()
    terms_N = average_gradients(state.network.parameters(), terms_N)
    record = StepRecord(state.step, phase.name, tuple(terms), terms_N, rate, len(batch) * plan.world_size)
    if not terms_N.is_cuda:
        stop_unless_finite(record)
    step_if_finite(state.optimizer, terms_N)
    return record


def set_learning_rate(state: TrainState, rate: float) -> None:
    """Give the network's and the clothes classifier's optimiser their rate."""
    optimizers = [state.optimizer] + ([state.clothes.optimizer] if state.clothes else [])
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


def stop_unless_finite(record: StepRecord) -> None:
    """Stop a training whose losses are no longer finite; reading them waits for the device.

    The averaged losses are the same everywhere, so all workers stop together. On CUDA the update is left out on the
    device, and whoever reads the losses next calls this.

    Raises:
        DivergedError: a loss is not finite.
    """
    values = record.terms_N.tolist()
    if not all(map(math.isfinite, values)):
        raise DivergedError(
            f"the {record.phase} losses of step {record.step} are not finite "
            f"({dict(zip(record.names, values, strict=True))}): lower optimizer.learning_rate, "
            "or add optimizer.warmup_epochs"
        )
