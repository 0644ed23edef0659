"""Settings of a training's course: how steps alternate, how fast and how long it learns, what changes on the way.

Loads without torch.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field

from rlq_ray.config.objective import LossConfig
from rlq_ray.config.section import Count, NonNegative, Positive, Section


class ScheduleConfig(Section):
    """How CAP and TAD steps alternate: in cycles, TAD first as published."""

    cap_steps: Count = 1
    """CAP units in a cycle."""
    tad_steps: Annotated[int, Field(ge=0)] = 1
    """TAD units in a cycle; 0 trains CAP alone."""
    granularity: Literal["step", "epoch"] = "epoch"
    """Whether a unit is one optimiser step, or one pass over the phase's data as published."""
    external: Literal["tad", "joint"] = "tad"
    """What TAD units do with the external set: `tad` distils from the teacher, `joint` trains on the external set's own
    labels as a CAP step does on the target's, a control for what those labels are worth."""


class OptimizerConfig(Section):
    """Adam and its learning rate over CAP epochs."""

    kind: Literal["adam", "adamw"] = "adam"
    """`adam` adds the decay to the gradient, `adamw` decouples it."""
    learning_rate: Positive = 3.5e-4
    """Rate after warm-up."""
    weight_decay: NonNegative = 5e-4
    """Decay of all parameters."""
    curve: Literal["milestones", "cosine"] = "milestones"
    """`milestones` multiplies by `gamma` at each milestone; `cosine` falls to 0.5 % at the end."""
    milestones: tuple[Count, ...] = (20, 40)
    """CAP epochs at which the rate falls."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Factor at each milestone."""
    warmup_epochs: NonNegative = 0.0
    """CAP epochs over which the rate rises linearly from nearly 0."""


class TrainConfig(Section):
    """Length, precision and rhythm of a training."""

    epochs: Count = 200
    """CAP epochs; one is a pass over the target's training identities."""
    steps_per_epoch: Count | None = None
    """CAP steps that make an epoch; by default as many as it takes to show as many images as the training set has."""
    evaluate_every_epochs: Count = 10
    """CAP epochs between evaluations on the validation identities, and so between checkpoints."""
    log_every_steps: Count = 10
    """Optimiser steps between writings to the tracker (each step's losses are kept and written together)."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """`bf16` runs networks under autocast; losses and weights stay fp32."""
    channels_last: bool = True
    """Memory layout of images and convolutions."""


def _is_unset(value: Any) -> bool:
    return value is None or value == {}


class StageConfig(Section):
    """What changes once so many CAP epochs are complete; what it does not name stays as it was before.

    Whatever it names, a stage begins a new cycle of the alternation. The teacher and the clothes classifier are there
    from the beginning if any stage needs them, and the classifier is trained only in stages with a term that asks it.
    """

    from_epoch: Count
    """CAP epochs that are complete when it begins."""
    cap_steps: Annotated[Count | None, Field(exclude_if=_is_unset)] = None
    """In place of `schedule.cap_steps`."""
    tad_steps: Annotated[int | None, Field(ge=0, exclude_if=_is_unset)] = None
    """In place of `schedule.tad_steps`; TAD can neither begin nor end with a stage."""
    learning_rate: Annotated[Positive | None, Field(exclude_if=_is_unset)] = None
    """In place of `optimizer.learning_rate`; the curve stays, counted from the beginning of the training."""
    weights: Annotated[dict[str, NonNegative], Field(default_factory=dict, exclude_if=_is_unset)]
    """In place of some of `loss.weights`, by name."""

    def change_schedule(self, before: ScheduleConfig) -> ScheduleConfig:
        """Give the alternation from this stage on."""
        return before.model_copy(update=self.model_dump(include={"cap_steps", "tad_steps"}))

    def change_optimizer(self, before: OptimizerConfig) -> OptimizerConfig:
        """Give the optimiser's settings from this stage on."""
        return before.model_copy(update=self.model_dump(include={"learning_rate"}))

    def change_loss(self, before: LossConfig) -> LossConfig:
        """Give weights and constants of the losses from this stage on."""
        return before.model_copy(update={"weights": before.weights.model_copy(update=self.weights)})


T = TypeVar("T")


@dataclass(frozen=True)
class Staged(Generic[T]):
    """Settings that change at CAP epochs: `values[i]` holds from `from_epochs[i]` on, the first of which is 0."""

    from_epochs: tuple[int, ...]
    values: tuple[T, ...]

    @classmethod
    def of(cls, first: T, stages: Sequence[StageConfig], change: Callable[[StageConfig, T], T]) -> Staged[T]:
        """Let every stage change what the one before has left."""
        values = accumulate(stages, lambda value, stage: change(stage, value), initial=first)
        return cls((0, *(stage.from_epoch for stage in stages)), tuple(values))

    def items(self) -> Iterator[tuple[int, T]]:
        """Give the settings in their order, each with the CAP epoch that it holds from."""
        return zip(self.from_epochs, self.values, strict=True)

    def at(self, epoch: float) -> T:
        """Settings that hold when so many CAP epochs are complete."""
        return self.values[bisect_right(self.from_epochs, epoch) - 1]


def first_clothes_epoch(loss: Staged[LossConfig]) -> float:
    """First CAP epoch that trains the clothes classifier, from 0; infinite where none does."""
    candidates = (max(epoch, settings.clothes_from_epoch) for epoch, settings in loss.items())
    return min((epoch for epoch in candidates if loss.at(epoch).trains_clothes(epoch)), default=math.inf)


def require_possible(
    stages: Sequence[StageConfig], schedule: ScheduleConfig, epochs: int, terms: Sequence[str]
) -> None:
    """Refuse stages that contradict each other or the training.

    Args:
        stages: in their order.
        schedule: that the training begins with.
        epochs: CAP epochs of the training.
        terms: losses that its networks and steps can have.

    Raises:
        ValueError: one does.
    """
    before = 0
    for number, stage in enumerate(stages):
        name, epoch = f"stages.{number}", stage.from_epoch
        if epoch <= before:
            raise ValueError(
                f"{name}.from_epoch is {epoch}, that of the stage before {before}: let every stage begin later"
            )
        if epoch >= epochs:
            raise ValueError(
                f"{name}.from_epoch is {epoch}, but train.epochs is {epochs}: begin it earlier, or raise train.epochs"
            )
        if not stage.model_dump(exclude={"from_epoch"}):
            raise ValueError(
                f"{name} changes nothing from epoch {epoch} on: "
                "give it cap_steps, tad_steps, learning_rate or weights, or take it away"
            )
        if stage.tad_steps is not None and not (stage.tad_steps and schedule.tad_steps):
            raise ValueError(
                f"{name}.tad_steps is {stage.tad_steps} after schedule.tad_steps={schedule.tad_steps}, but TAD can "
                "neither begin nor end with a stage: give both at least 1, or leave the stage's out"
            )
        if unknown := [term for term in stage.weights if term not in terms]:
            raise ValueError(
                f"{name}.weights has '{unknown[0]}', which is no loss of this training: it has {', '.join(terms)}"
            )
        before = epoch
