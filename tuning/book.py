"""The course of a sweep: which training is next, which one stops early, and when all is done.

Decides from what the ledger holds and nothing else, so it decides alike after a restart. Knows neither Ray nor MLflow.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rlq_ray.distributed.reporting import SCORE
from rlq_ray.distributed.trial import Evaluated, TrialEnd
from tuning.population import Lineage
from tuning.proposals import Proposals
from tuning.record import Ledger, Training, Trial, fit_trials, run_name
from tuning.seeds import SeedModel, survivors
from tuning.settings import SweepSettings
from tuning.space import Space, Values, settings_of
from tuning.stopping import Asha, MedianRule

CONFLICT = "diagnostics/gradient_cosine"
"""Metric of a training: mean cosine between the gradients of its phases before an evaluation."""


def changes_of(space: Space, trial: Trial, training: Training) -> dict[str, Any]:
    """Give the dotted settings that a training changes; those of a member of a population with their stages."""
    if training.part is None:
        return settings_of(space, trial.values)
    return Lineage(training.part.root, tuple(training.part.stages), training.part.values).settings(space)


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
        self._proposals = Proposals(space, settings.search, len(settings.objectives))
        self._rule = _rule(settings, epochs)
        self._grid_has_ended = False
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
                    training.state = "running"  # what made it fail may be mended
                if training.has_ended:
                    self._replay(training)
                else:
                    left.append((trial, training))
            if trial.trainings[0].has_ended:
                self._tell_search(trial, TrialEnd(trial.trainings[0].state))
        return left

    def _replay(self, training: Training) -> None:
        curve = training.first_objective()
        for length in range(1, len(curve) + 1):
            self._stops(training, curve[:length])

    def next(self) -> tuple[Trial, Training] | None:
        """Give the training to begin or to go on with; None if there is none now."""
        if self._left:
            return self._left.pop(0)
        if self._is_spent():
            return None
        if len(self.trials) < self.settings.budget.trials and not self._grid_has_ended:
            number = len(self.trials)
            values = self._proposals.propose(number)
            if values is not None:
                trial = self._new_trial(number, values)
                return trial, self._begin_seed(trial)
            self._grid_has_ended = True
        for trial in self.due_for_another_seed():
            return trial, self._begin_seed(trial)
        return None

    def _new_trial(self, number: int, values: Values) -> Trial:
        trial = Trial(number, values)
        trial.run_id = self._recorder.begin_trial(trial)
        self.trials.append(trial)
        return trial

    @property
    def is_done(self) -> bool:
        """Whether nothing is under way and nothing is to be begun."""
        is_quiet = not self._left and all(training.has_ended for trial in self.trials for training in trial.trainings)
        if not is_quiet:
            return False
        is_proposed = len(self.trials) >= self.settings.budget.trials or self._grid_has_ended
        return self._is_spent() or (is_proposed and not self.due_for_another_seed())

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
        """Take note of an evaluation, and tell whether the training should stop there."""
        self._keep_evaluation(trial, training, evaluated)
        return self._stops(training, training.first_objective())

    def _keep_evaluation(self, trial: Trial, training: Training, evaluated: Evaluated) -> None:
        objectives = [evaluated.metrics[metric] for metric in self.settings.metrics]
        point = (float(evaluated.epoch), evaluated.metrics[SCORE], *objectives)
        if not training.curve or training.curve[-1][0] < evaluated.epoch:
            training.curve.append(point)
            conflict = evaluated.metrics.get(CONFLICT)
            training.conflict = conflict if conflict is not None else training.conflict
        training.seconds = evaluated.seconds
        training.images = evaluated.images
        self._ledger.keep(trial)

    def _stops(self, training: Training, curve: list[tuple[int, float]]) -> bool:
        is_first = training.seed == self.settings.seeds.values[0]
        return is_first and self._rule is not None and self._rule.should_stop(training.run, curve)

    def end(self, trial: Trial, training: Training, end: TrialEnd) -> None:
        """Take note of how a training ended."""
        if training is trial.trainings[0]:
            self._tell_search(trial, end)
        self._keep_end(trial, training, end)

    def _keep_end(self, trial: Trial, training: Training, end: TrialEnd) -> None:
        training.state, training.reason = end.state, end.reason
        self._ledger.keep(trial)
        self._ledger.keep_spent(self._clock() - self._began_s)
        self._recorder.end_training(trial, training, self.standing(trial))

    def _tell_search(self, trial: Trial, end: TrialEnd) -> None:
        """Tell the search the first seed's scores; of one that was stopped early those that it had."""
        first = trial.trainings[0]
        has_scores = end.state in ("finished", "stopped early") and first.chosen is not None
        self._proposals.tell(trial.number, first.chosen[1:] if has_scores and first.chosen else None)

    def model(self, objective: int = 0) -> SeedModel:
        """Estimate what the configurations that finished a training score over all seeds."""
        return fit_trials(self.trials, objective)

    def standing(self, trial: Trial) -> Standing | None:
        """Say how a configuration stands; None before it has a score."""
        if not trial.scores():
            return None
        models = [self.model(objective) for objective in range(len(self.settings.objectives))]
        bound = models[0].lower_bound(trial.number, self.settings.seeds.confidence)
        return Standing(tuple(model.mean(trial.number) for model in models), bound)

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
