"""Counts for Prometheus what an observer of the loop is told."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch

from rlq_ray.collectives import World
from rlq_ray.distributed.loading import Loading
from rlq_ray.distributed.meters import Meters
from rlq_ray.distributed.step_clock import StepClock
from rlq_ray.train.loop import Observer, StepRecord
from rlq_ray.train.schedule import Timeline
from rlq_ray.train.state import TrainState

EVERY_S = 5.0
"""How often figures go to the agent, which hands them on every 10 s; it forgets a gauge after some missing ones."""


class Metered:
    """An observer that counts on the way to another one.

    Args:
        observer: is told everything.
        meters: take the figures.
        metric: by which the best checkpoint is chosen.
        loading: how this worker is served with data.
    """

    def __init__(
        self,
        observer: Observer,
        meters: Meters,
        *,
        world: World,
        device: torch.device,
        timeline: Timeline,
        metric: str,
        loading: Loading,
    ) -> None:
        self._observer = observer
        self._meters = meters
        self._world = world
        self._timeline = timeline
        self._metric = metric
        self._loading = loading
        self._clock = StepClock(device)
        self._published_s = self._stepped_s = time.monotonic()

    def after_step(self, record: StepRecord) -> None:
        """Count the step; some seconds' figures are handed over together."""
        if self._world.rank == 0:
            self._clock.after_step(record.phase)
            self._meters.stepped(record.phase, record.images)
        self._observer.after_step(record)
        self._stepped_s = time.monotonic()
        if self._stepped_s - self._published_s >= EVERY_S:
            self._publish(record.step + 1)

    def after_epoch(self, state: TrainState, epoch: int, metrics: Mapping[str, float], *, is_best: bool) -> None:
        """Count the evaluation and the checkpoint."""
        began_s = time.monotonic()
        if self._world.rank == 0:
            self._meters.evaluated(self._metric, metrics[self._metric], began_s - self._stepped_s)
        self._publish(state.step)
        self._observer.after_epoch(state, epoch, metrics, is_best=is_best)
        self._count_checkpoint(began_s)

    def after_stop(self, state: TrainState) -> None:
        """Count the checkpoint."""
        began_s = time.monotonic()
        self._publish(state.step)
        self._observer.after_stop(state)
        self._count_checkpoint(began_s)

    def _count_checkpoint(self, began_s: float) -> None:
        if self._world.rank == 0:
            self._meters.kept(time.monotonic() - began_s)
            self._clock.restart()

    def _publish(self, step: int) -> None:
        self._published_s = time.monotonic()
        self._meters.served(self._loading.since_last())
        if self._world.rank:
            return
        for phase, seconds in self._clock.read().items():
            self._meters.took(phase, seconds)
        self._meters.stands(
            progress=step / self._timeline.total_steps,
            step_ratio=self._timeline.step_ratio(step),
            workers=self._world.size,
        )
