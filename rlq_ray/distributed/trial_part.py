"""What is kept of a training of a sweep, and one worker's part of it. Knows neither Ray Train nor Ray Tune.

Checkpoints and curve lie in the store beside those of other runs, so that a training goes on wherever it is called
again: after a fault, and under another driver.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from rlq_ray.collectives import World
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.distributed.log_lines import log_lines
from rlq_ray.distributed.progress import nobody
from rlq_ray.distributed.reporting import IMAGES, SCORE
from rlq_ray.distributed.runs import runs_folder
from rlq_ray.distributed.training import open_tracker, run_training
from rlq_ray.distributed.trial_task import Evaluated, TrialTask
from rlq_ray.storage import Location, delete_file, exists, list_files, locate, read_json, write_bytes, write_json
from rlq_ray.train.checkpoint import CARD_FILE, STATE_FILE, read_state

CURVE_FILE = "curve.json"


class _EnoughError(Exception):
    """The last epoch that is asked for is kept."""


@dataclass
class Keeper:
    """Keeps the best and the latest checkpoint of a run, and its curve; of several workers only the first writes.

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
        """Where it keeps them."""
        return runs_folder(locate(self.task.store)) / self.task.run

    def __call__(self, report: Mapping[str, float], name: str, folder: Path | None) -> None:
        """Keep an evaluation and its checkpoint, and report it; see `rlq_ray.distributed.reporting.Keep`."""
        evaluated = Evaluated(
            epoch=int(report["epoch"]),
            metrics={key: float(value) for key, value in report.items() if key not in ("epoch", IMAGES)},
            seconds=self.seconds_before + time.monotonic() - self.since_s,
            images=self.images_before + int(report[IMAGES]),
        )
        self.curve.append(evaluated)
        if folder is not None:
            self._write(name, folder)
        self.report(evaluated)
        if self.is_enough():
            raise _EnoughError

    def is_enough(self) -> bool:
        """Tell whether the task asks for no more than is kept."""
        return bool(self.task.until_epoch and self.curve[-1].epoch >= self.task.until_epoch)

    def is_whole(self, epochs: int) -> bool:
        """Tell whether all is kept that the task asks for, of so many epochs if it does not say.

        A training may be cut off between its last checkpoint and its end.
        """
        return bool(self.curve) and self.curve[-1].epoch >= (self.task.until_epoch or epochs)

    def _write(self, name: str, folder: Path) -> None:
        for file in (STATE_FILE, CARD_FILE):
            write_bytes(self.folder / name / file, (folder / file).read_bytes())
        write_json(self.folder / CURVE_FILE, [vars(point) for point in self.curve])
        self.drop_but({self.best().epoch, self.curve[-1].epoch})

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


def train_part(task: TrialTask, config: ExperimentConfig, keeper: Keeper, world: World, device: torch.device) -> None:
    """Train this worker's part to the end, or as far as the task asks for.

    Raises:
        UsageError, DataError, CheckpointError, TrainingError: see `run_training`.
    """
    with log_lines(task.run, task.run_id, world), contextlib.suppress(_EnoughError):
        run_training(
            config,
            run=task.run,
            world=world,
            device=device,
            store=locate(task.store),
            tracker=open_tracker(task.tracking_uri, task.run_id, world),
            tell=nobody,
            keep=keeper,
            state=keeper.state(),
        )
