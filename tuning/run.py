"""A sweep on Ray Tune: its trials are the trainings that the book asks for, on actors that train one after another.

Tune places, starts, retries and stops them. What is trained next, what stops early, and what is known after a restart
is the book's affair; Tune's own record of the experiment is thrown away.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.analysis import experiment_analysis
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.utils import util

from rlq_ray.build_stamp import require_package
from rlq_ray.config.load import build_config, merge, nested, to_dict
from rlq_ray.distributed.threads import beside_main_thread
from rlq_ray.distributed.trial import keep_end, train_trial
from rlq_ray.distributed.trial_task import Evaluated, TrialEnd, TrialTask
from rlq_ray.errors import PackageError, RlqError, TrainingError, UsageError
from tuning.book import Book
from tuning.pending import Waiting, watched
from tuning.record import Training, Trial
from tuning.room import needs

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
EVALUATED, END = "evaluated", "end"
"""Keys of what a training tells Tune, each with one JSON text, since Tune takes nested values apart."""
PATIENCE_S = 20.0
"""How long an interrupted sweep waits for Tune."""
ACTOR_PATIENCE_S = 60
"""How long an actor waits for the thread of a stopped training before it is thrown away instead of used again."""
CAUSE_LENGTH = 160
"""Characters of the cause of a training's loss that are told."""


@dataclass(frozen=True)
class Common:
    """What all trainings of a sweep share.

    That is settings in plain values, the store, the tracking store, the names of the metrics that the book reads,
    whether each has a GPU, and the hash of the code that each must run, if it is a job's.
    """

    settings: dict[str, Any]
    store: str
    tracking_uri: str | None
    reported: tuple[str, ...]
    on_gpu: bool
    package: str | None = None

    def task(self, changes: dict[str, Any], seed: int, own: dict[str, Any]) -> TrialTask:
        """Make the task of a training, given the dotted settings that it changes, its seed, and what is its own.

        Raises:
            UsageError: they contradict each other.
        """
        changed = {**nested(changes), "seed": seed, "name": own["run"]}
        settings = to_dict(build_config(merge(self.settings, changed)))
        return TrialTask(
            settings=settings,
            store=self.store,
            tracking_uri=self.tracking_uri,
            on_gpu=self.on_gpu,
            **own,
        )


Train = Callable[[TrialTask, Callable[[Evaluated], None]], TrialEnd]
"""Trains a task, and reports after every evaluation."""


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
    os.environ.update(QUIET)
    for module, level in LOUD.items():
        logging.getLogger(module.__name__).setLevel(level)
    workers = build_config(common.settings).workers
    desk = _Desk(book, common, changed, workers.max_failures, tell)
    need = needs(workers)
    waiting = Waiting(has_groups=need.workers > 1)
    with tempfile.TemporaryDirectory(prefix="rlq-tune-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(_train, common=common, train=train), need.of_trial),
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


def _train(config: dict[str, Any], common: Common, train: Train) -> dict[str, Any]:
    """Train one configuration with one seed, in an actor of Tune's."""
    os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = str(ACTOR_PATIENCE_S)

    def report(evaluated: Evaluated) -> None:
        metrics = {name: value for name, value in evaluated.metrics.items() if name in common.reported}
        tune.report({EVALUATED: json.dumps(asdict(replace(evaluated, metrics=metrics)))})

    try:
        require_package(common.package)
        task = common.task(**config)
    except (UsageError, PackageError) as error:
        end = TrialEnd("failed", str(error))
    else:
        end = train(task, report)
    return {END: json.dumps(asdict(end))}


class _WaitsOrFails:
    """Lets Tune know of an actor that cannot be used again by an error.

    By the word False it would end the next training, and tell neither search nor scheduler.
    """

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Make the actor ready for the next training.

        Raises:
            TrainingError: the thread of the stopped one does not end.
        """
        if not super().reset_config(new_config):  # type: ignore[misc]
            raise TrainingError("the actor's last training was stopped and does not end")
        return True


_train.__mixins__ = (_WaitsOrFails,)  # type: ignore[attr-defined]


def _task_of(book: Book, trial: Trial, training: Training) -> dict[str, Any]:
    """Give what `Common.task` asks for, in plain values."""
    own: dict[str, Any] = {"run": training.run, "run_id": training.run_id}
    if part := training.part:
        own |= {"until_epoch": part.until_epoch, "parent": part.parent, "parent_epoch": part.from_epoch}
    return {"changes": book.changes(trial, training), "seed": training.seed, "own": own}


class _Desk:
    """Where Tune's search and scheduler meet the book; their calls come from one thread, that of Tune's loop.

    Tune takes an error in some of these calls for the trial's own, so what the book cannot go on from is kept in
    `error`, and all trainings are let go.
    """

    def __init__(
        self,
        book: Book,
        common: Common,
        changed: Callable[[], None],
        max_failures: int,
        tell: Callable[[str], None],
    ) -> None:
        self._book = book
        self._common = common
        self._changed = changed
        self._max_failures = max_failures
        self._tell = tell
        self._under_way: dict[str, tuple[Trial, Training]] = {}
        self._losses: Counter[str] = Counter()
        self.error: RlqError | None = None
        self._is_over = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave nothing for Tune to pickle: its record is not used."""
        return {}

    def let_go(self) -> None:
        """Have Tune end all that is under way, of which nothing more is noted."""
        self._is_over = True

    def next(self, tune_id: str) -> dict[str, Any] | str | None:
        """Give Tune the next training's configuration, None while there is none, or the word that all is done."""
        with self._keeping_error():
            found = None if self.is_closed else self._book.next()
            if found is not None:
                trial, training = self._under_way[tune_id] = found
                self._changed()
                return _task_of(self._book, trial, training)
        return str(Searcher.FINISHED) if self.is_closed or self._book.is_done else None

    def note(self, tune_id: str, result: dict[str, Any]) -> bool:
        """Pass on what a training reports, and tell whether it should stop."""
        if END in result:  # which Tune tells twice
            return False
        trial, training = self._under_way[tune_id]
        should_stop = True
        with self._keeping_error():
            should_stop = self._book.note(trial, training, Evaluated(**json.loads(result[EVALUATED])))
            self._changed()
        return should_stop

    def end(self, tune_id: str, result: dict[str, Any]) -> None:
        """Pass on how a training ended; one that Tune ended itself was stopped early."""
        trial, training = self._under_way.pop(tune_id)
        if self.is_closed:
            return
        with self._keeping_error():
            self._book.end(trial, training, self._end_of(trial, training, result))
            self._changed()

    def lose(self, tune_id: str, cause: str) -> None:
        """Have a training whose actor died begun again, or end it as failed once that was too often.

        Tune itself would try again only what has begun: not what it was about to hand to an actor that it uses again.
        """
        trial, training = self._under_way.pop(tune_id)
        if self.is_closed:
            return
        self._losses[training.run] += 1
        if self._losses[training.run] <= self._max_failures:
            times = f"{self._losses[training.run]} of at most {self._max_failures} times"
            self._tell(f"{training.run} was cut off ({cause}) and is taken up again, {times}")
            self._book.put_back(trial, training)
            return
        with self._keeping_error():
            reason = f"cut off {self._losses[training.run]} times, at last by {cause}; see the workers' logs of Ray"
            self._book.end(trial, training, TrialEnd("failed", reason))
            self._changed()

    def _end_of(self, trial: Trial, training: Training, result: dict[str, Any]) -> TrialEnd:
        if END in result:
            return TrialEnd(**json.loads(result[END]))
        end = TrialEnd("stopped early", f"behind others after epoch {int(training.curve[-1][0])}")
        keep_end(self._common.task(**_task_of(self._book, trial, training)), end)
        return end

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is begun or noted."""
        return self._is_over or self.error is not None

    @contextlib.contextmanager
    def _keeping_error(self) -> Iterator[None]:
        try:
            yield
        except RlqError as error:
            self.error = self.error or error


class _Search(Searcher):
    """Tune's search, which asks the desk."""

    def __init__(self, desk: _Desk) -> None:
        super().__init__()
        self._desk = desk

    def suggest(self, trial_id: str) -> Any:
        """Give the next configuration."""
        return self._desk.next(trial_id)

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

    def __init__(self, desk: _Desk) -> None:
        self._desk = desk

    def __call__(self, _trial_id: str, _result: dict[str, Any]) -> bool:
        """Leave single trials to the scheduler."""
        return False

    def stop_all(self) -> bool:
        """Tell whether all trainings are to be let go."""
        return self._desk.is_closed


class _EarlyStopping(FIFOScheduler):
    """Tune's scheduler, which asks the desk."""

    def __init__(self, desk: _Desk, waiting: Waiting) -> None:
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


def _fit(tuner: tune.Tuner, desk: _Desk) -> None:
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
