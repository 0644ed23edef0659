"""Which phase runs at which step, and at what learning rate: pure functions of the step.

Time is counted in CAP epochs, as published: a CAP epoch is a pass over the labelled target. TAD steps lie between.
Knows neither networks nor data.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from rlq_ray.config.schema import OptimizerConfig, ScheduleConfig, Staged

PhaseName = Literal["cap", "tad", "joint"]

COSINE_FLOOR = 0.005
"""Share of the learning rate that the cosine curve ends at."""


class Ratio(NamedTuple):
    """Steps of a cycle from a CAP epoch on: first TAD (or the phase that is `external` instead), then CAP."""

    from_epoch: int
    cap_cycle_steps: int
    tad_cycle_steps: int


@dataclass(frozen=True)
class Timeline:
    """The alternation of phases, laid out from step 0 to `total_steps`.

    A cycle is `tad_cycle_steps` TAD steps (or steps of the phase that is `external` instead) and then `cap_cycle_steps`
    CAP steps; the training ends with the CAP step that completes the last CAP epoch. The step after the one that
    completes CAP epoch `from_epoch` of a later ratio begins a cycle of that ratio, whether or not the last is whole;
    before it, steps are laid out as if there were no later ratio.
    """

    epochs: int
    cap_steps_per_epoch: int
    cap_cycle_steps: int
    tad_cycle_steps: int
    external: Literal["tad", "joint"] = "tad"
    later: tuple[Ratio, ...] = ()

    @classmethod
    def plan(
        cls, schedule: Staged[ScheduleConfig], *, epochs: int, cap_steps_per_epoch: int, tad_steps_per_epoch: int
    ) -> Timeline:
        """Lay out a schedule; with epoch granularity a unit is a whole pass over the phase's data."""
        begun = schedule.at(0)
        cap_unit, tad_unit = (1, 1) if begun.granularity == "step" else (cap_steps_per_epoch, tad_steps_per_epoch)
        first, *later = (
            Ratio(epoch, settings.cap_steps * cap_unit, settings.tad_steps * tad_unit)
            for epoch, settings in schedule.items()
        )
        return cls(
            epochs=epochs,
            cap_steps_per_epoch=cap_steps_per_epoch,
            cap_cycle_steps=first.cap_cycle_steps,
            tad_cycle_steps=first.tad_cycle_steps,
            external=begun.external,
            later=tuple(later),
        )

    @property
    def total_steps(self) -> int:
        """Optimiser steps of both phases."""
        return self.steps_until(self.epochs)

    def steps_until(self, epoch: int) -> int:
        """Count the optimiser steps of both phases until so many CAP epochs are complete."""
        cap_steps = epoch * self.cap_steps_per_epoch
        return self._cycles[bisect_right(self._first_cap_steps, cap_steps) - 1].steps_until(cap_steps)

    def phase(self, step: int) -> PhaseName:
        """Name the phase of a step."""
        return "cap" if self._cycles_of(step).is_cap(step) else self.external

    def step_ratio(self, step: int) -> float:
        """Give the TAD steps (or steps of the phase that is `external` instead) to a CAP step, around a step."""
        cycles = self._cycles_of(step)
        return cycles.tad_steps / cycles.cap_steps

    def cap_steps_before(self, step: int) -> int:
        """Count the CAP steps among steps 0 … step − 1."""
        return self._cycles_of(step).cap_steps_before(step)

    def epoch(self, step: int) -> float:
        """CAP epochs completed before a step, with the begun one as a fraction."""
        return self.cap_steps_before(step) / self.cap_steps_per_epoch

    def ends_epoch(self, step: int) -> bool:
        """Tell whether a step completes a CAP epoch."""
        return self.phase(step) == "cap" and self.cap_steps_before(step + 1) % self.cap_steps_per_epoch == 0

    def _cycles_of(self, step: int) -> _Cycles:
        return self._cycles[bisect_right(self._first_steps, step) - 1]

    @cached_property
    def _cycles(self) -> tuple[_Cycles, ...]:
        """The cycles of every ratio, in their order."""
        cycles = [_Cycles(0, 0, self.cap_cycle_steps, self.tad_cycle_steps)]
        for from_epoch, cap_cycle_steps, tad_cycle_steps in self.later:
            cap_steps = from_epoch * self.cap_steps_per_epoch
            cycles.append(_Cycles(cycles[-1].steps_until(cap_steps), cap_steps, cap_cycle_steps, tad_cycle_steps))
        return tuple(cycles)

    @cached_property
    def _first_steps(self) -> tuple[int, ...]:
        return tuple(cycles.first_step for cycles in self._cycles)

    @cached_property
    def _first_cap_steps(self) -> tuple[int, ...]:
        return tuple(cycles.first_cap_step for cycles in self._cycles)


class _Cycles(NamedTuple):
    """Cycles of one ratio; `first_step` begins the first, and `first_cap_step` CAP steps lie before it."""

    first_step: int
    first_cap_step: int
    cap_steps: int
    tad_steps: int

    def steps_until(self, cap_steps: int) -> int:
        """Count the steps of the training until so many CAP steps are done."""
        whole_cycles, rest = divmod(cap_steps - self.first_cap_step, self.cap_steps)
        begun = self.tad_steps + rest if rest else 0
        return self.first_step + whole_cycles * (self.tad_steps + self.cap_steps) + begun

    def is_cap(self, step: int) -> bool:
        """Tell whether a step of these cycles is a CAP step."""
        return (step - self.first_step) % (self.tad_steps + self.cap_steps) >= self.tad_steps

    def cap_steps_before(self, step: int) -> int:
        """Count the CAP steps of the training before a step of these cycles."""
        whole_cycles, rest = divmod(step - self.first_step, self.tad_steps + self.cap_steps)
        return self.first_cap_step + whole_cycles * self.cap_steps + max(0, rest - self.tad_steps)


def learning_rate(config: OptimizerConfig, *, epoch: float, epochs: int) -> float:
    """Learning rate at a moment of the training, in CAP epochs."""
    rate = config.learning_rate
    if config.warmup_epochs and epoch < config.warmup_epochs:
        rate *= max(epoch / config.warmup_epochs, 0.01)
    if config.curve == "cosine":
        return rate * (COSINE_FLOOR + (1 - COSINE_FLOOR) * 0.5 * (1 + math.cos(math.pi * min(epoch / epochs, 1))))
    return rate * config.gamma ** sum(epoch >= milestone for milestone in config.milestones)
