"""One training of a sweep, on one worker, in a process that trains others after it. Knows nothing of Ray Tune.

Its checkpoints and its curve lie in the store beside those of other runs, so that it goes on wherever it is called
again: after a fault, and under another driver.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from rlq_ray.collectives import World
from rlq_ray.config.load import build_config
from rlq_ray.distributed.reporting import IMAGES, SCORE
from rlq_ray.distributed.runs import RunEntry, RunState, find_run, keep_run, runs_folder
from rlq_ray.distributed.training import open_tracker, run_training
from rlq_ray.errors import CheckpointError, DataError, DivergedError, NotFoundError, TrainingError, UsageError
from rlq_ray.storage import Location, delete_file, exists, list_files, locate, read_json, write_bytes, write_json
from rlq_ray.train.checkpoint import CARD_FILE, STATE_FILE, read_state

CURVE_FILE = "curve.json"
FINAL: tuple[RunState, ...] = ("finished", "diverged", "stopped early")
"""States that a training does not leave; one that failed is tried again when it is called again."""


@dataclass(frozen=True)
class TrialTask:
    """What a training of a sweep is given.

    `settings` are the whole configuration in plain values. `parent` is another training of the sweep with the same
    network, from whose state after `parent_epoch` CAP epochs this one goes on. It ends with the first evaluation from
    the CAP epoch `until_epoch` on, or where the configuration says. `on_gpu` says whether the process has a GPU of its
    own.
    """

    run: str
    settings: dict[str, Any]
    store: str
    tracking_uri: str | None = None
    run_id: str | None = None
    parent: str | None = None
    parent_epoch: int = 0
    until_epoch: int | None = None
    on_gpu: bool = False


@dataclass(frozen=True)
class Evaluated:
    """What a training reports after an evaluation: CAP epoch, flat metrics, and seconds and images so far."""

    epoch: int
    metrics: dict[str, float]
    seconds: float
    images: int


@dataclass(frozen=True)
class TrialEnd:
    """How a training ended; `reason` says why, where it did not finish."""

    state: RunState
    reason: str = ""


class _EnoughError(Exception):
    """The last epoch that was asked for is kept."""


@dataclass
class _Keeper:
    """Keeps the best and the latest checkpoint of a run, and its curve.

    A checkpoint counts once the curve names it, which is written after it.
    """

    task: TrialTask
    report: Callable[[Evaluated], None]
    curve: list[Evaluated] = field(default_factory=list)
    since_s: float = field(default_factory=time.monotonic)
    seconds_before: float = 0.0
    images_before: int = 0

    @property
    def folder(self) -> Location:
        return runs_folder(locate(self.task.store)) / self.task.run

    def __call__(self, report: Mapping[str, float], name: str, folder: Path | None) -> None:
        assert folder is not None
        for file in (STATE_FILE, CARD_FILE):
            write_bytes(self.folder / name / file, (folder / file).read_bytes())
        evaluated = Evaluated(
            epoch=int(report["epoch"]),
            metrics={key: float(value) for key, value in report.items() if key not in ("epoch", IMAGES)},
            seconds=self.seconds_before + time.monotonic() - self.since_s,
            images=self.images_before + int(report[IMAGES]),
        )
        self.curve.append(evaluated)
        write_json(self.folder / CURVE_FILE, [vars(point) for point in self.curve])
        self.drop_but({self.best().epoch, evaluated.epoch})
        self.report(evaluated)
        if self.task.until_epoch and evaluated.epoch >= self.task.until_epoch:
            raise _EnoughError

    def best(self) -> Evaluated:
        """Give the first of the evaluations with the highest score."""
        return max(self.curve, key=lambda point: (point.metrics[SCORE], -point.epoch))

    def checkpoint(self, epoch: int) -> Location:
        """Say where the checkpoint of an epoch lies."""
        return checkpoint_of(locate(self.task.store), self.task.run, epoch)

    def drop_but(self, epochs: set[int]) -> None:
        """Delete the checkpoints of other epochs, the card first, so that half a one is none."""
        kept = {self.checkpoint(epoch).uri for epoch in epochs}
        for name in (CARD_FILE, STATE_FILE):
            for file in list_files(self.folder, f"/{name}"):
                if file.uri.removesuffix(f"/{name}") not in kept:
                    delete_file(file)

    def take_up(self) -> None:
        """Read the curve that earlier calls left, and report it again."""
        if exists(self.folder / CURVE_FILE):
            self.curve = [Evaluated(**point) for point in read_json(self.folder / CURVE_FILE)]
            self.seconds_before, self.images_before = self.curve[-1].seconds, self.curve[-1].images
            for point in self.curve:
                self.report(point)

    def state(self) -> dict[str, Any] | None:
        """Give what to go on from, if there is something.

        Raises:
            CheckpointError: it is not whole.
        """
        if self.curve:
            return read_state(self.checkpoint(self.curve[-1].epoch))
        if self.task.parent is None:
            return None
        return read_state(checkpoint_of(locate(self.task.store), self.task.parent, self.task.parent_epoch))


def checkpoint_of(store: Location, run: str, epoch: int) -> Location:
    """Say where the checkpoint of a run after a CAP epoch lies."""
    return runs_folder(store) / run / f"epoch_{epoch:05d}"


def train_trial(task: TrialTask, report: Callable[[Evaluated], None]) -> TrialEnd:
    """Train to the end, or go on where an earlier call was cut off; one that had ended is only reported again.

    Args:
        task: what to train.
        report: takes every evaluation, those of earlier calls too; what it raises ends the call, not the training.

    Raises:
        StorageError, TrackingError: a place that may be back later.
    """
    store = locate(task.store)
    keeper = _Keeper(task, report)
    keeper.take_up()
    entry = find_run(store, task.run)
    if entry and entry.state in FINAL:
        return TrialEnd(entry.state, entry.reason)
    keep_run(store, RunEntry(task.run, "running", task.settings, task.run_id))
    end = _train(task, keeper)
    keep_end(task, end)
    gc.collect()  # a data set and its row groups hold each other, a GB that the next training needs
    return end


def keep_end(task: TrialTask, end: TrialEnd) -> None:
    """Write down how a training ended, with its best checkpoint so far, once it no longer moves.

    Other checkpoints are deleted after that, if nobody can go on from the latest any more.

    Raises:
        StorageError: the store cannot be written.
    """
    keeper = _Keeper(task, _nobody)
    keeper.take_up()
    entry = RunEntry(task.run, end.state, task.settings, task.run_id, reason=end.reason)
    if not keeper.curve:
        keep_run(locate(task.store), entry)
        return
    best = keeper.best()
    metrics = {key: value for key, value in best.metrics.items() if "/" in key}
    entry = replace(entry, checkpoint=keeper.checkpoint(best.epoch).uri, epoch=best.epoch, metrics=metrics)
    keep_run(locate(task.store), entry)
    if end.state in FINAL and not task.until_epoch:
        keeper.drop_but({best.epoch})


def _train(task: TrialTask, keeper: _Keeper) -> TrialEnd:
    world = World()
    try:
        config = build_config(task.settings)
        if keeper.curve and keeper.curve[-1].epoch >= (task.until_epoch or config.train.epochs):
            return TrialEnd("finished")  # it was cut off between its last checkpoint and its end
        with contextlib.suppress(_EnoughError):
            run_training(
                config,
                world=world,
                device=torch.device("cuda" if task.on_gpu else "cpu"),
                tracker=open_tracker(task.tracking_uri, task.run_id, world),
                tell=_nobody,
                keep=keeper,
                state=keeper.state(),
            )
    except DivergedError as error:
        return TrialEnd("diverged", str(error))
    except (UsageError, DataError, CheckpointError, TrainingError, NotFoundError) as error:
        return TrialEnd("failed", str(error))
    return TrialEnd("finished")


def _nobody(_: object) -> None:
    """Take what nobody waits for."""
