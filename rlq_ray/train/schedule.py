"""Which phase runs at which step, and at what learning rate: pure functions of the step.

Time is counted in CAP epochs, as published: a CAP epoch is a pass over the labelled target. TAD steps lie between.
Knows neither networks nor data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from rlq_ray.config.schema import OptimizerConfig, ScheduleConfig

PhaseName = Literal["cap", "tad", "joint"]

COSINE_FLOOR = 0.005
"""Share of the learning rate that the cosine curve ends at."""


@dataclass(frozen=True)
class Timeline:
    """The alternation of phases, laid out from step 0 to `total_steps`.

    A cycle is `tad_cycle_steps` TAD steps (or steps of the phase that is `external` instead) and then `cap_cycle_steps`
    CAP steps; the training ends with the CAP step that completes the last CAP epoch.
    """

    epochs: int
    cap_steps_per_epoch: int
    cap_cycle_steps: int
    tad_cycle_steps: int
    external: Literal["tad", "joint"] = "tad"

    @classmethod
    def plan(
        cls, schedule: ScheduleConfig, *, epochs: int, cap_steps_per_epoch: int, tad_steps_per_epoch: int
    ) -> Timeline:
        """Lay out a schedule; with epoch granularity a unit is a whole pass over the phase's data."""
        by_step = schedule.granularity == "step"
        return cls(
            epochs=epochs,
            cap_steps_per_epoch=cap_steps_per_epoch,
            cap_cycle_steps=schedule.cap_steps * (1 if by_step else cap_steps_per_epoch),
            tad_cycle_steps=schedule.tad_steps * (1 if by_step else tad_steps_per_epoch),
            external=schedule.external,
        )

    @property
    def total_steps(self) -> int:
        """Optimiser steps of both phases."""
        return self.steps_until(self.epochs)

    def steps_until(self, epoch: int) -> int:
        """Count the optimiser steps of both phases until so many CAP epochs are complete."""
        whole_cycles, rest = divmod(epoch * self.cap_steps_per_epoch, self.cap_cycle_steps)
        begun = self.tad_cycle_steps + rest if rest else 0
        return whole_cycles * (self.tad_cycle_steps + self.cap_cycle_steps) + begun

    def phase(self, step: int) -> PhaseName:
        """Name the phase of a step."""
        begins_with = step % (self.tad_cycle_steps + self.cap_cycle_steps) < self.tad_cycle_steps
        return self.external if begins_with else "cap"

    def cap_steps_before(self, step: int) -> int:
        """Count the CAP steps among steps 0 … step − 1."""
        cycles, rest = divmod(step, self.tad_cycle_steps + self.cap_cycle_steps)
        return cycles * self.cap_cycle_steps + max(0, rest - self.tad_cycle_steps)

    def epoch(self, step: int) -> float:
        """CAP epochs completed before a step, with the begun one as a fraction."""
        return self.cap_steps_before(step) / self.cap_steps_per_epoch

    def ends_epoch(self, step: int) -> bool:
        """Tell whether a step completes a CAP epoch."""
        return self.phase(step) == "cap" and self.cap_steps_before(step + 1) % self.cap_steps_per_epoch == 0


def learning_rate(config: OptimizerConfig, *, epoch: float, epochs: int) -> float:
    """Learning rate at a moment of the training, in CAP epochs."""
    rate = config.learning_rate
    if config.warmup_epochs and epoch < config.warmup_epochs:
        rate *= max(epoch / config.warmup_epochs, 0.01)
    if config.curve == "cosine":
        return rate * (COSINE_FLOOR + (1 - COSINE_FLOOR) * 0.5 * (1 + math.cos(math.pi * min(epoch / epochs, 1))))
    return rate * config.gamma ** sum(epoch >= milestone for milestone in config.milestones)
