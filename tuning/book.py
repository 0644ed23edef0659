"""The course of a sweep: which training is next, which one stops early, and when all is done.

Decides from what the ledger holds and nothing else, so it decides alike after a restart. Knows neither Ray nor MLflow.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rlq_ray.distributed.reporting import SCORE
from rlq_ray.distributed.trial_task import Evaluated, TrialEnd
from rlq_ray.errors import TrainingError
from tuning.population import changes_of
from tuning.proposals import Proposals
from tuning.record import Ledger, Training, Trial, fit_trials, run_name
from tuning.seeds import SeedModel, survivors
from tuning.settings import SweepSettings
from tuning.space import Space
from tuning.stopping import Asha, MedianRule

CONFLICT = "diagnostics/gradient_cosine"
"""Metric of a training: mean cosine between the gradients of its phases before an evaluation."""


@dataclass(frozen=True)
class Standing:
    """How a configuration stands: the mean of every objective over all seeds, and the first one's lower bound."""

    means: tuple[float, ...]
    lower_bound: float


class Recorder(Protocol):
    """Writes a sweep down where people look, as it goes."""

    def begin_trial(self, trial: Trial) -> str | None:
        """Make the run of a configuration and return its id."""

    def begin_training(self, trial: Trial, training: Training, changes: Mapping[str, Any]) -> str | None:
        """Make the run of a training, given the dotted settings that it changes, and return its id."""

    def end_training(self, trial: Trial, training: Training, standing: Standing | None) -> None:
        """Write how a training ended, and how its configuration stands now."""


class Book:
    """A sweep as it goes.

    Args:
        name: of the sweep.
        space: what may be changed.
        settings: how it is searched.
        epochs: CAP epochs of a whole training.
        ledger: its files, those of an earlier driver too.
        recorder: is told of every beginning and end.
        clock: seconds since some moment.
    """

    def __init__(
        self,
        name: str,
        *,
        space: Space,
        settings: SweepSettings,
        epochs: int,
        ledger: Ledger,
        recorder: Recorder,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._space = space
        self.settings = settings
        self._ledger = ledger
        self._recorder = recorder
        self._clock = clock
        self._epochs = epochs
        self._began_s = clock() - ledger.spent()
        self._proposals = Proposals(space, settings.search, len(settings.objectives), settings.budget.trials)
        self._rule = _rule(settings, epochs)
        self.trials = ledger.read()
        self._left = self._take_up()

    @property
    def reported(self) -> tuple[str, ...]:
        """Names of the metrics that it reads."""
        return (SCORE, CONFLICT, *self.settings.metrics)

    def changes(self, trial: Trial, training: Training) -> dict[str, Any]:
        """Give the dotted settings that a training changes."""
        return changes_of(self._space, trial, training)

    def _take_up(self) -> list[tuple[Trial, Training]]:
        """Tell search and early stopping what happened before, and list the trainings to go on with."""
        left = []
        for trial in self.trials:
            self._proposals.take_up(trial.number, trial.values)
            for training in trial.trainings:
                if training.state == "failed":
                    training.state, training.reason = "running", ""  # what made it fail may be mended
                for length in range(1, len(training.curve) + 1):
                    self._should_stop(training, length)
                if not training.has_ended:
                    left.append((trial, training))
            if trial.trainings[0].has_ended:
                self._tell_search(trial)
        return left

    def next(self) -> tuple[Trial, Training] | None:
        """Give the training to begin or to go on with; None if there is none now."""
        if self._left:
            return self._left.pop(0)
        if self._is_spent():
            return None
        if self._is_proposed:
            return self._begin_next()
        number = len(self.trials)
        trial = Trial(number, self._proposals.propose(number))
        trial.run_id = self._recorder.begin_trial(trial)
        training = self._begin_first(trial)
        self.trials.append(trial)  # once it is in the ledger: until then it is none
        return trial, training

    def put_back(self, trial: Trial, training: Training) -> None:
        """Take back a training that was given by `next` and was cut off, to be the next one again."""
        self._left.insert(0, (trial, training))

    def _begin_first(self, trial: Trial) -> Training:
        """Begin the first training of a configuration."""
        return self._begin_seed(trial)

    def _begin_next(self) -> tuple[Trial, Training] | None:
        """Begin another training of a configuration, once all have been proposed; None if there is none now."""
        due = self.due_for_another_seed()
        return (due[0], self._begin_seed(due[0])) if due else None

    def _is_whole(self) -> bool:
        """Tell whether no configuration is to be trained further, now that nothing is under way."""
        return not self.due_for_another_seed()

    @property
    def is_done(self) -> bool:
        """Whether nothing is under way and nothing is to be begun."""
        is_quiet = not self._left and all(training.has_ended for trial in self.trials for training in trial.trainings)
        if not is_quiet:
            return False
        return self._is_spent() or (self._is_proposed and self._is_whole())

    @property
    def _is_proposed(self) -> bool:
        """Whether all configurations that are wanted have been begun."""
        return len(self.trials) >= self._proposals.most

    def _begin_seed(self, trial: Trial) -> Training:
        seed = self.settings.seeds.values[len(trial.trainings)]
        return self._begin(trial, Training(seed, run_name(self._name, trial.number, seed)))

    def _begin(self, trial: Trial, training: Training) -> Training:
        training.run_id = self._recorder.begin_training(trial, training, self.changes(trial, training))
        trial.trainings.append(training)
        self._ledger.keep(trial)
        return training

    def due_for_another_seed(self) -> list[Trial]:
        """List the configurations that survived their round and have not begun the next, once the round is over.

        A round is judged by the seeds that all its members have, so that it comes out alike whatever came later.
        """
        members = list(self.trials)
        for seeds in range(1, len(self.settings.seeds.values)):
            if any(len(trial.trainings) < seeds or not trial.trainings[seeds - 1].has_ended for trial in members):
                return []
            whole = [trial for trial in members if len(trial.finished()) >= seeds]
            means = {trial.number: own for trial in whole if (own := trial.means(seeds))}
            chosen = survivors(means, self.settings.seeds.keep, len(members))
            members = [self.trials[number] for number in chosen]
            if waiting := [trial for trial in members if len(trial.trainings) == seeds]:
                return waiting
        return []

    def note(self, trial: Trial, training: Training, evaluated: Evaluated) -> bool:
        """Take note of an evaluation, and tell whether the training should stop there.

        One that was told before, as of a training that goes on, changes nothing.

        Raises:
            TrainingError: it lacks an objective.
        """
        if not training.curve or training.curve[-1][0] < evaluated.epoch:
            training.curve.append(self._point(evaluated))
            training.conflict = evaluated.metrics.get(CONFLICT, training.conflict)
            training.seconds, training.images = evaluated.seconds, evaluated.images
            training.is_to_stop = self._should_stop(training, len(training.curve))
            self._ledger.keep(trial)
            self._keep_spent()
        return training.is_to_stop

    def _point(self, evaluated: Evaluated) -> tuple[float, ...]:
        if lacking := [metric for metric in (SCORE, *self.settings.metrics) if metric not in evaluated.metrics]:
            raise TrainingError(
                f"trainings do not measure {lacking[0]}: take an objective among evaluate.qualities and "
                "evaluate.protocols for which validation identities have a match"
            )
        return (float(evaluated.epoch), *(evaluated.metrics[metric] for metric in (SCORE, *self.settings.metrics)))

    def _should_stop(self, training: Training, length: int) -> bool:
        """Show early stopping the curve as it was after so many evaluations; only that of the first seed."""
        if self._rule is None or training.seed != self.settings.seeds.values[0]:
            return False
        return self._rule.should_stop(training.run, training.first_objective()[:length])

    def end(self, trial: Trial, training: Training, end: TrialEnd) -> None:
        """Take note of how a training ended; in the ledger last, so that a driver that dies here ends it again."""
        training.state, training.reason = end.state, end.reason
        if training is trial.trainings[0]:
            self._tell_search(trial)
        self._recorder.end_training(trial, training, self.standing(trial))
        self._ledger.keep(trial)
        self._keep_spent()

    def _keep_spent(self) -> None:
        self._ledger.keep_spent(self._clock() - self._began_s)

    def _tell_search(self, trial: Trial) -> None:
        """Tell the search the first seed's scores; of one that was stopped early those that it had."""
        first = trial.trainings[0]
        chosen = first.chosen if first.state in ("finished", "stopped early") else None
        self._proposals.tell(trial.number, chosen[1:] if chosen else None)

    def model(self, objective: int = 0) -> SeedModel:
        """Estimate what the configurations that finished a training score over all seeds."""
        return fit_trials(self.trials, objective)

    def standing(self, trial: Trial) -> Standing | None:
        """Say how a configuration stands; None before it has a score."""
        if not trial.scores():
            return None
        return self._standing(trial, self._models())

    def _models(self) -> list[SeedModel]:
        return [self.model(objective) for objective in range(len(self.settings.objectives))]

    def _standing(self, trial: Trial, models: Sequence[SeedModel]) -> Standing:
        bound = models[0].lower_bound(trial.number, self.settings.seeds.confidence)
        return Standing(tuple(model.mean(trial.number) for model in models), bound)

    def standings(self) -> list[tuple[Trial, Standing]]:
        """Say how all configurations stand that have a score; every seed that is trained tells of all of them."""
        models = self._models()
        return [(trial, self._standing(trial, models)) for trial in self.trials if trial.scores()]

    def _is_spent(self) -> bool:
        budget = self.settings.budget
        images = sum(training.images for trial in self.trials for training in trial.trainings)
        hours = (self._clock() - self._began_s) / 3600
        return hours >= (budget.hours or math.inf) or images >= (budget.images or math.inf)


def _rule(settings: SweepSettings, epochs: int) -> Asha | MedianRule | None:
    stopping = settings.stopping
    if stopping.kind == "asha":
        return Asha(stopping.grace_epochs, stopping.reduction, epochs)
    return MedianRule(stopping.grace_epochs, epochs) if stopping.kind == "median" else None
