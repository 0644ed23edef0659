"""From a rehearsal to what a whole training will take, as ranges. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.distributed.rehearsing import Measured
from rlq_ray.train.rehearsal import Rehearsal, evaluation_epochs
from rlq_ray.train.schedule import Timeline

MEMORY_SPARE = 1.2
"""Above what was seen and what caches may still take: a long training's memory is in more pieces."""
STEP_SPREAD = (0.9, 1.3)
"""Around the faster and the slower half of the steps: a machine does not stay as it was while they were timed."""
ONCE_SPREAD = (0.7, 1.4)
"""Around what was timed once: the building of the parts, an evaluation, a checkpoint."""
START_SPREAD = (2.0, 5.0)
"""Of the time until workers can begin: Ray starts its own processes before theirs, and at the end the model is kept."""


class Range(NamedTuple):
    """From the least to the most that is expected."""

    low: float
    high: float

    def plus(self, *others: Range) -> Range:
        """Add ranges, end by end."""
        return Range(self.low + sum(own.low for own in others), self.high + sum(own.high for own in others))

    def times(self, factor: float) -> Range:
        """Scale both ends."""
        return Range(self.low * factor, self.high * factor)

    @classmethod
    def around(cls, value: float, spread: tuple[float, float]) -> Range:
        """Spread a value."""
        return cls(value * spread[0], value * spread[1])


@dataclass(frozen=True)
class StepCost:
    """A phase's optimiser step, and how many were counted; images are those of all workers."""

    seconds: Range
    counted: int
    images: int
    steps_per_epoch: int


@dataclass(frozen=True)
class TrainingCost:
    """What trainings of one kind take, whatever their length.

    `begin_s` is what processes take to start and to end, `build_s` what is built before the first step; `evaluation_s`
    is that of an evaluation with its checkpoint.
    """

    begin_s: Range
    build_s: Range
    steps: Mapping[str, StepCost]
    evaluation_s: Range
    memory_bytes: Range
    gpu_bytes: Range | None
    gpu_total_bytes: int | None
    checkpoint_bytes: int
    read_bytes: Range
    read_first_epoch_bytes: int

    @classmethod
    def of(cls, measured: Sequence[Measured], *, is_teacher: bool = False) -> TrainingCost:
        """Take together what trainings measured that were rehearsed at a time."""
        teams = [own.teacher if is_teacher else own.training for own in measured]
        workers = [worker for team in teams for worker in team]
        firsts = [team[0] for team in teams]
        evaluation_s = float(np.mean([first.evaluation_s + first.checkpoint_s for first in firsts]))
        gpu = [worker.gpu_peak_bytes for worker in workers if worker.gpu_peak_bytes is not None]
        memory = [Range(own.peak_bytes, MEMORY_SPARE * (own.peak_bytes + own.cache_growth_bytes)) for own in workers]
        return cls(
            begin_s=Range.around(max(own.start_s for own in measured), START_SPREAD),
            build_s=Range.around(max(worker.build_s for worker in workers), ONCE_SPREAD),
            steps={
                name: StepCost(
                    step_range([second for first in firsts for second in first.phases[name].step_s]),
                    sum(len(first.phases[name].step_s) for first in firsts),
                    cost.images,
                    cost.steps_per_epoch,
                )
                for name, cost in firsts[0].phases.items()
            },
            evaluation_s=Range.around(evaluation_s, ONCE_SPREAD),
            memory_bytes=Range(max(own.low for own in memory), max(own.high for own in memory)),
            gpu_bytes=Range(max(gpu), MEMORY_SPARE * max(gpu)) if gpu else None,
            gpu_total_bytes=min((worker.gpu_total_bytes or 0 for worker in workers), default=0) or None,
            checkpoint_bytes=firsts[0].checkpoint_bytes,
            read_bytes=_reads(teams[0]),
            read_first_epoch_bytes=sum(
                cost.reads.read_bytes[0] for worker in teams[0] for cost in worker.phases.values() if cost.steps
            ),
        )

    def counts(self, config: ExperimentConfig) -> dict[str, int]:
        """Count the optimiser steps of every phase that a configuration asks for."""
        others = [name for name in self.steps if name != "cap"]
        line = Timeline.plan(
            config.staged_schedule,
            epochs=config.train.epochs,
            cap_steps_per_epoch=config.train.steps_per_epoch or self.steps["cap"].steps_per_epoch,
            tad_steps_per_epoch=self.steps[others[0]].steps_per_epoch if others else 0,
        )
        cap = line.epochs * line.cap_steps_per_epoch
        return {"cap": cap, **dict.fromkeys(others, line.total_steps - cap)}

    def images(self, config: ExperimentConfig) -> int:
        """Count the images that a training is shown."""
        return sum(steps * self.steps[name].images for name, steps in self.counts(config).items())

    def course_s(self, config: ExperimentConfig) -> Range:
        """Give the seconds from a training's first step to its end."""
        steps = [self.steps[name].seconds.times(count) for name, count in self.counts(config).items()]
        return self.evaluation_s.times(len(evaluation_epochs(config))).plus(*steps)

    def whole_s(self, config: ExperimentConfig) -> Range:
        """Give the seconds of a training on workers of its own."""
        return self.course_s(config).plus(self.begin_s, self.build_s)


def step_range(seconds: Iterable[float]) -> Range:
    """Spread the means of the faster and of the slower half of steps, which share the one in the middle."""
    ordered = np.sort(np.fromiter(seconds, np.float64))
    half = (len(ordered) + 1) // 2
    low, high = STEP_SPREAD
    return Range(low * float(ordered[:half].mean()), high * float(ordered[-half:].mean()))


def _reads(team: Sequence[Rehearsal]) -> Range:
    """Add up what all workers read: images of every epoch, and of the evaluations the first alone, or each anew."""
    images = sum(cost.read_bytes for worker in team for cost in worker.phases.values())
    once = sum(worker.evaluation_read_bytes for worker in team)
    is_kept = all(cost.reads.is_kept for worker in team for cost in worker.phases.values())
    return Range(images + once, images + (once if is_kept else once * team[0].evaluations))
