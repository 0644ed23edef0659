"""Trainings of a sweep whose actors die, whenever that is: they are taken up again, and given up in the end.

The trainings are made up; Ray, Tune, the book and its ledger are real.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rlq_ray.config.load import build_config, to_dict
from rlq_ray.distributed.reporting import SCORE
from rlq_ray.distributed.trial_task import Evaluated, TrialEnd, TrialTask
from rlq_ray.storage import locate
from tuning.book import Book, Standing
from tuning.record import Ledger, Training, Trial
from tuning.run import run_sweep
from tuning.settings import SweepSettings
from tuning.space import Domain
from tuning.trainable import Common

pytestmark = pytest.mark.slow

GOOD, POOR, NEXT = 0.3, 0.1, 0.2
"""Learning rates, which are the scores too: the second training stops early, and the third takes over its actor."""


class NoRecorder:
    """Writes nothing."""

    def begin_trial(self, trial: Trial) -> str | None:
        """Make no run."""

    def begin_training(self, trial: Trial, training: Training, changes: Mapping[str, Any]) -> str | None:
        """Make no run."""

    def end_training(self, trial: Trial, training: Training, standing: Standing | None) -> None:
        """Write nothing."""


def sweep(folder: Path, train: Callable[..., TrialEnd], *, stopping: str = "asha") -> tuple[list[Training], list[str]]:
    """Carry out a sweep of three configurations, one at a time; return its trainings and what was told."""
    settings = SweepSettings.model_validate(
        {
            "objectives": ["lq/cc/mAP"],
            "search": {"kind": "grid"},
            "stopping": {"kind": stopping, "grace_epochs": 1, "reduction": 2},
            "seeds": {"values": [0]},
            "budget": {"trials": 3},
        }
    )
    config = build_config({"data": {"target": "nowhere"}, "schedule": {"tad_steps": 0}})
    store = locate(folder)
    book = Book(
        "lost",
        space={"optimizer.learning_rate": Domain(choice=(GOOD, POOR, NEXT))},
        settings=settings,
        epochs=2,
        ledger=Ledger(store, "lost"),
        recorder=NoRecorder(),
    )
    told: list[str] = []
    common = Common(to_dict(config), store.uri, None, book.reported, on_gpu=False)
    run_sweep(book, common, concurrent=1, changed=lambda: None, tell=told.append, train=partial(train, folder))
    return [training for trial in Ledger(store, "lost").read() for training in trial.trainings], told


def evaluate(task: TrialTask, report: Callable[[Evaluated], None], epochs: range = range(1, 3)) -> TrialEnd:
    """Report evaluations whose score is the learning rate."""
    for epoch in epochs:
        report(Evaluated(epoch, dict.fromkeys((SCORE, "validation/lq/cc/mAP"), rate_of(task)), 0.0, 0))
    return TrialEnd("finished")


def rate_of(task: TrialTask) -> float:
    return float(task.settings["optimizer"]["learning_rate"])


def test_one_whose_actor_dies_amid_it_is_taken_up_again(ray_cluster, tmp_path: Path) -> None:
    def train(folder: Path, task: TrialTask, report: Callable[[Evaluated], None]) -> TrialEnd:
        evaluate(task, report, range(1, 2))
        if rate_of(task) == GOOD and not (folder / "died").exists():
            (folder / "died").touch()
            os._exit(1)
        return evaluate(task, report)

    trainings, told = sweep(tmp_path, train)
    assert [training.state for training in trainings] == ["finished", "stopped early", "finished"]
    assert all(len(training.curve) == len({point[0] for point in training.curve}) for training in trainings)
    (line,) = told
    assert line.startswith("lost-00000-seed-0 was cut off (The actor is dead because its worker")
    assert line.endswith(") and is taken up again, 1 of at most 2 times")
    assert "\n" not in line


def test_one_that_was_to_be_handed_to_a_dying_actor_is_taken_up_again(ray_cluster, tmp_path: Path) -> None:
    """Tune alone would give it up as failed: it has not begun."""

    def train(folder: Path, task: TrialTask, report: Callable[[Evaluated], None]) -> TrialEnd:
        try:
            return evaluate(task, report)
        finally:
            if rate_of(task) == POOR:
                time.sleep(2)  # the actor waits for this thread before it takes the next training
                os._exit(1)

    trainings, told = sweep(tmp_path, train)
    assert [training.state for training in trainings] == ["finished", "stopped early", "finished"]
    (line,) = told
    assert line.startswith("lost-00002-seed-0 was cut off (")


def test_an_actor_whose_stopped_training_does_not_end_is_not_waited_for(ray_cluster, tmp_path: Path) -> None:
    def train(folder: Path, task: TrialTask, report: Callable[[Evaluated], None]) -> TrialEnd:
        os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = "1"
        try:
            return evaluate(task, report)
        finally:
            if rate_of(task) == POOR:
                threading.Event().wait()

    trainings, told = sweep(tmp_path, train)
    assert [training.state for training in trainings] == ["finished", "stopped early", "finished"]
    (line,) = told
    assert line.startswith("lost-00002-seed-0 was cut off (")
    assert "TrainingError: the actor's last training was stopped and does not end)" in line


def test_one_whose_actor_always_dies_is_given_up_and_the_others_are_not(ray_cluster, tmp_path: Path) -> None:
    def train(folder: Path, task: TrialTask, report: Callable[[Evaluated], None]) -> TrialEnd:
        if rate_of(task) == POOR:
            os._exit(1)
        return evaluate(task, report)

    trainings, told = sweep(tmp_path, train, stopping="none")
    assert [training.state for training in trainings] == ["finished", "failed", "finished"]
    assert trainings[1].reason.startswith("cut off 3 times, at last by The actor is dead")
    assert [line.partition(" was")[0] for line in told] == ["lost-00001-seed-0"] * 2
