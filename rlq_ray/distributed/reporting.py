"""What the first worker tells while it trains: the tracker, whoever watches, and the keeper of checkpoints."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from rlq_ray.collectives import World
from rlq_ray.distributed.loading import Loading
from rlq_ray.distributed.progress import Progress
from rlq_ray.tracking import MetricPoint, Tracker
from rlq_ray.train.checkpoint import CheckpointCard, write_checkpoint
from rlq_ray.train.loop import StepRecord, stop_unless_finite
from rlq_ray.train.schedule import Timeline
from rlq_ray.train.state import TrainState

log = logging.getLogger(__name__)

SCORE = "score"
"""Name of the reported metric by which the best checkpoint is kept."""
UNMEASURED = -1.0
"""Score of a checkpoint between two evaluations, below all others; Ray Train's own record cannot hold −inf."""
IMAGES = "images"
"""Name of the reported count of images that were trained on."""


class Keep(Protocol):
    """Takes a report, alike on every worker, and on the first the checkpoint that belongs to it."""

    def __call__(self, report: Mapping[str, float], name: str, folder: Path | None) -> None:
        """Keep the report and a copy of the folder under a name, the same one on every worker."""


class Reporter:
    """The loop's observer on one worker; on all but the first it only takes part in keeping reports.

    Args:
        tell: takes the progress after every writing of losses.
        keep: takes the report of every evaluation, and of a stop between two, with its checkpoint.
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
        tell: Callable[[Progress], None],
        keep: Keep,
        timeline: Timeline,
        loading: Loading,
        card: Callable[[int, int, Mapping[str, float]], CheckpointCard],
        select_on: str,
        log_every_steps: int,
    ) -> None:
        self._world = world
        self._tracker = tracker
        self._tell = tell
        self._keep = keep
        self._timeline = timeline
        self._loading = loading
        self._card = card
        self._select_on = select_on
        self._log_every_steps = log_every_steps
        self._waiting: list[StepRecord] = []
        self._since_s = time.monotonic()
        self._images = 0
        self._metrics: dict[str, float] = {}

    def after_step(self, record: StepRecord) -> None:
        """Keep the record, and write once enough have come together."""
        if self._world.rank:
            return
        self._waiting.append(record)
        self._images += record.images
        if len(self._waiting) >= self._log_every_steps or self._timeline.ends_epoch(record.step):
            self._write()

    def after_epoch(self, state: TrainState, epoch: int, metrics: Mapping[str, float], *, is_best: bool) -> None:
        """Report metrics and the whole training state; `images` are those of this call, not of one that it resumes."""
        self._metrics = dict(metrics)
        if not self._world.rank:
            self._write()
            log.info("evaluated", extra={"epoch": epoch, "step": state.step, SCORE: metrics[self._select_on]})
            self._tracker.log_metrics({**metrics, "validation/is_best": float(is_best)}, step=epoch)
            self._tracker.flush()  # who goes on from this checkpoint does not write earlier steps again
        self._keep_state(state, epoch, score=metrics[self._select_on], metrics=metrics, name=f"epoch_{epoch:05d}")

    def after_stop(self, state: TrainState) -> None:
        """Report the whole training state with a score below all others: the latest to go on from, never the best.

        Losses are written behind the checkpoint's back, since there may be little time; `detach` waits for them.
        """
        if not self._world.rank:
            self._write()
        epoch = int(self._timeline.epoch(state.step))
        self._keep_state(state, epoch, score=UNMEASURED, metrics={}, name=f"step_{state.step:08d}")

    def _keep_state(
        self, state: TrainState, epoch: int, *, score: float, metrics: Mapping[str, float], name: str
    ) -> None:
        report = {SCORE: score, "epoch": epoch, "step": state.step, IMAGES: self._images, **metrics}
        if self._world.rank:
            self._keep(report, name, None)
            return
        with tempfile.TemporaryDirectory(prefix="rlq-checkpoint-") as folder:
            write_checkpoint(Path(folder), self._card(epoch, state.step, metrics), state.state_dict())
            self._keep(report, name, Path(folder))
        log.info("kept a checkpoint", extra={"checkpoint": name, "epoch": epoch, "step": state.step})
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
        points.append(MetricPoint("workers", self._world.size, last.step))
        points += [MetricPoint(name, value, last.step) for name, value in self._loading.since_last().metrics().items()]
        self._tracker.log_metric_history(points)
        self._tell(
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
