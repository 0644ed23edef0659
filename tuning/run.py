"""A sweep on Ray Tune: its trials are the trainings that the book asks for, on actors that train one after another.

Tune places, starts and stops them. What is trained next or again, what stops early, and what is known after a restart
is the affair of desk and book; Tune's own record of the experiment is thrown away.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.analysis import experiment_analysis
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.utils import util

from rlq_ray.config.load import build_config
from rlq_ray.distributed.threads import beside_main_thread
from rlq_ray.distributed.trial import train_trial
from rlq_ray.errors import TrainingError
from tuning.book import Book
from tuning.desk import Desk
from tuning.pending import Waiting, watched
from tuning.room import needs
from tuning.trainable import Common, Train, train_in_actor

QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a folder of CSV, JSON and TensorBoard files for every trial
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "1e9",
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # its record is not used, and grows with the number of trials
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # with their stacks; the desk tells of them in a line
}
LOUD = {experiment_analysis: logging.ERROR, util: logging.ERROR, tune.tune: logging.CRITICAL}
"""Modules of Tune and what they may tell: not of files that are not written on purpose, of the report's time, nor of
trainings that lost an actor."""
PATIENCE_S = 20.0
"""How long an interrupted sweep waits for Tune."""
CAUSE_LENGTH = 160
"""Characters of the cause of a training's loss that are told."""


def run_sweep(
    book: Book,
    common: Common,
    *,
    concurrent: int,
    changed: Callable[[], None],
    tell: Callable[[str], None],
    train: Train = train_trial,
) -> None:
    """Run a sweep to its end on the connected cluster.

    Args:
        book: says what is next.
        common: what all trainings share.
        concurrent: trainings at a time.
        changed: is called after everything that happens.
        tell: is told, from other threads, which trainings lost their actors, and why nothing goes on when the cluster
            has no room.
        train: what a trial does.

    Raises:
        RlqError: what the book or its recorder could not go on from.
        TrainingError: Tune gave up.
    """
    if book.is_done:
        return
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    for module, level in LOUD.items():
        logging.getLogger(module.__name__).setLevel(level)
    workers = build_config(common.settings).workers
    desk = Desk(book, common, max_failures=workers.max_failures, changed=changed, tell=tell)
    need = needs(workers)
    waiting = Waiting(has_groups=need.workers > 1)
    with tempfile.TemporaryDirectory(prefix="rlq-tune-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(train_in_actor, common=common, train=train), need.of_trial),
            tune_config=tune.TuneConfig(
                search_alg=_Search(desk),
                scheduler=_EarlyStopping(desk, waiting),
                num_samples=-1,
                max_concurrent_trials=concurrent,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=folder,
                failure_config=tune.FailureConfig(max_failures=0),  # the desk counts them
                stop=_Stop(desk),
                verbose=0,
            ),
        )
        with watched(waiting, need, tell):
            _fit(tuner, desk)
    if desk.error is not None:
        raise desk.error


class _Search(Searcher):
    """Tune's search, which asks the desk."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    def suggest(self, trial_id: str) -> Any:
        """Give the next configuration, None while there is none, or the word that all is done."""
        found = self._desk.next(trial_id)
        return Searcher.FINISHED if found is None and self._desk.is_done else found

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take note of an end; of an error the scheduler tells the desk, which sees what it was."""
        if not error:
            self._desk.end(trial_id, result or {})

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the ledger has it."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the ledger has it."""


class _Stop(tune.Stopper):
    """Tune's word for the end of everything, which asks the desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def __call__(self, _trial_id: str, _result: dict[str, Any]) -> bool:
        """Leave single trials to the scheduler."""
        return False

    def stop_all(self) -> bool:
        """Tell whether all trainings are to be let go."""
        return self._desk.is_closed


class _EarlyStopping(FIFOScheduler):
    """Tune's scheduler, which asks the desk."""

    def __init__(self, desk: Desk, waiting: Waiting) -> None:
        super().__init__()
        self._desk = desk
        self._waiting = waiting

    def __getstate__(self) -> dict[str, Any]:
        """Leave nothing for Tune to pickle: its record is not used."""
        return {}

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Let others see what waits."""
        self._waiting.note(tune_controller)
        super().on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide after every report."""
        self._waiting.note(tune_controller)
        return str(TrialScheduler.STOP if self._desk.note(trial.trial_id, result) else TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Take note of a training that lost its actor."""
        self._waiting.note(tune_controller)
        self._desk.lose(trial.trial_id, _cause(trial))


def _cause(trial: Any) -> str:
    """Say in a line why an actor's work failed: stacks and tales of dead actors end with it, others begin with it."""
    _, *lines = Path(trial.error_file).read_text().strip().splitlines()
    at = 0 if trial.pickled_error_file is None else -1
    return textwrap.shorten(lines[at], CAUSE_LENGTH, placeholder=" …") if lines else "no word of why"


def _fit(tuner: tune.Tuner, desk: Desk) -> None:
    """Run Tune to its end.

    At an interrupt it is let go and waited for, since a thread that asks a Ray that was shut down ends the process.

    Raises:
        TrainingError: it gave up.
    """
    outcome = beside_main_thread(tuner.fit, "rlq-sweep")
    try:
        outcome.result()
    except Exception as error:
        lines = str(error).strip().splitlines()
        raise TrainingError(
            f"the sweep cannot go on: {lines[-1] if lines else type(error).__name__}; resume it once that is mended"
        ) from error
    except BaseException:
        desk.let_go()
        with contextlib.suppress(Exception):
            outcome.result(timeout=PATIENCE_S)
        raise
