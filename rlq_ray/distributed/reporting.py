"""What the first worker tells while it trains: the tracker, the progress board, and Ray Train with the checkpoint."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray.train
from ray.train import Checkpoint

from rlq_ray.collectives import World
from rlq_ray.distributed.loading import LoadingMetrics
from rlq_ray.distributed.progress import Progress
from rlq_ray.tracking import MetricPoint, Tracker
from rlq_ray.train.checkpoint import CheckpointCard, write_checkpoint
from rlq_ray.train.loop import StepRecord, stop_unless_finite
from rlq_ray.train.schedule import Timeline
from rlq_ray.train.state import TrainState

SCORE = "score"
"""Name of the reported metric by which Ray Train keeps the best checkpoint."""


class Reporter:
    """The loop's observer on one worker; on all but the first it only takes part in Ray Train's reports.

    Args:
        loading: how this worker is served with data.
        card: what a checkpoint belongs to, at a given epoch and step and with given metrics.
        select_on: the metric that is reported as `SCORE`.
        log_every_steps: losses stay on the device until this many steps are written together.
    """

    def __init__(
        self,
        *,
        world: World,
        tracker: Tracker,
        board: Any,
        timeline: Timeline,
        loading: LoadingMetrics,
        card: Callable[[int, int, Mapping[str, float]], CheckpointCard],
        select_on: str,
        log_every_steps: int,
    ) -> None:
        self._world = world
        self._tracker = tracker
        self._board = board
        self._timeline = timeline
        self._loading = loading
        self._card = card
        self._select_on = select_on
        self._log_every_steps = log_every_steps
        self._waiting: list[StepRecord] = []
        self._since_s = time.monotonic()
        self._metrics: dict[str, float] = {}

    def after_step(self, record: StepRecord) -> None:
        """Keep the record, and write once enough have come together."""
        if self._world.rank:
            return
        self._waiting.append(record)
        if len(self._waiting) >= self._log_every_steps or self._timeline.ends_epoch(record.step):
            self._write()

    def after_epoch(self, state: TrainState, epoch: int, metrics: Mapping[str, float], *, is_best: bool) -> None:
        """Report metrics and the whole training state to Ray Train."""
        self._metrics = dict(metrics)
        report = {SCORE: metrics[self._select_on], "epoch": epoch, "step": state.step, **metrics}
        name = f"epoch_{epoch:05d}"
        if self._world.rank:
            ray.train.report(report, checkpoint=None, checkpoint_dir_name=name)
            return
        self._write()
        self._tracker.log_metrics({**metrics, "validation/is_best": float(is_best)}, step=epoch)
        self._tracker.flush()  # who goes on from this checkpoint does not write earlier steps again
        with tempfile.TemporaryDirectory(prefix="rlq-checkpoint-") as folder:
            write_checkpoint(Path(folder), self._card(epoch, state.step, metrics), state.state_dict())
            ray.train.report(report, checkpoint=Checkpoint.from_directory(folder), checkpoint_dir_name=name)
        self._since_s = time.monotonic()

    def _write(self) -> None:
        """Read the losses from the device, a deliberate wait, and pass them on."""
        if not self._waiting:
            return
        points, losses = [], {}
        for record in self._waiting:
            stop_unless_finite(record)
            values = dict(zip(record.names, record.terms_N.tolist(), strict=True))
            named = {f"{record.phase}/{name}": value for name, value in values.items()}
            named[f"{record.phase}/loss"] = sum(values.values())
            losses.update({f"{record.phase}/loss": named[f"{record.phase}/loss"]})
            named["learning_rate"] = record.learning_rate
            points += [MetricPoint(name, value, record.step) for name, value in named.items()]
        last = self._waiting[-1]
        speed = sum(record.images for record in self._waiting) / (time.monotonic() - self._since_s)
        points.append(MetricPoint("images_per_second", speed, last.step))
        points += [MetricPoint(name, value, last.step) for name, value in self._loading.since_last().items()]
        self._tracker.log_metric_history(points)
        self._board.tell.remote(
            Progress(
                step=last.step + 1,
                total_steps=self._timeline.total_steps,
                epoch=int(self._timeline.epoch(last.step + 1)),
                images_per_second=speed,
                losses=losses,
                metrics=self._metrics,
            )
        )
        self._waiting.clear()
        self._since_s = time.monotonic()
