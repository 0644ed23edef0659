"""Settings of a training's course: how steps alternate, how fast and how long it learns. Loads without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

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
