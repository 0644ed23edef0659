"""The course of a population: every member a part of its training, then all compared, then the next part."""

from __future__ import annotations

from rlq_ray.distributed.trial import Evaluated, TrialEnd
from tuning.book import Book
from tuning.population import Lineage, next_generation
from tuning.record import Part, Training, Trial, part_name


class PopulationBook(Book):
    """A sweep by population based training; its configurations are the members."""

    def _take_up(self) -> list[tuple[Trial, Training]]:
        left = []
        for trial in self.trials:
            for training in trial.trainings:
                if training.state == "failed":
                    training.state = "running"  # what made it fail may be mended
                if not training.has_ended:
                    left.append((trial, training))
        return left

    def next(self) -> tuple[Trial, Training] | None:
        """Give the part to begin or to go on with; None while others of its generation are under way, or at the end."""
        if self._left:
            return self._left.pop(0)
        if self._is_spent():
            return None
        number = len(self.trials)
        if number < self.settings.budget.trials:
            values = self._proposals.propose(number)
            assert values is not None, "only a grid ends"
            trial = self._new_trial(number, values)
            return trial, self._begin_part(trial, 0, Lineage(values, (), values), parent=None)
        return self._begin_next_part()

    @property
    def is_done(self) -> bool:
        """Whether all members are trained to the end, or the budget is spent and nothing is under way."""
        if self._left or not all(training.has_ended for trial in self.trials for training in trial.trainings):
            return False
        return self._is_spent() or (
            len(self.trials) == self.settings.budget.trials
            and all(_last(trial).until_epoch >= self._epochs for trial in self.trials)
        )

    def note(self, trial: Trial, training: Training, evaluated: Evaluated) -> bool:
        """Take note of an evaluation; nobody stops early."""
        self._keep_evaluation(trial, training, evaluated)
        return False

    def end(self, trial: Trial, training: Training, end: TrialEnd) -> None:
        """Take note of how a part ended."""
        self._keep_end(trial, training, end)

    def _begin_next_part(self) -> tuple[Trial, Training] | None:
        reached = min(_last(trial).from_epoch for trial in self.trials)
        generation = {trial.number: _part_from(trial, reached) for trial in self.trials}
        if reached + self.settings.search.generation_epochs >= self._epochs:
            return None
        if not all(training.has_ended for training in generation.values()):
            return None
        parts = {number: training.part for number, training in generation.items() if training.part}
        scores = {
            number: training.chosen[1]
            for number, training in generation.items()
            if training.state == "finished" and training.chosen
        }
        until = next(iter(parts.values())).until_epoch
        chosen = next_generation(
            {number: Lineage(part.root, tuple(part.stages), part.values) for number, part in parts.items()},
            scores,
            self._space,
            from_epoch=until,
            exploit_share=self.settings.search.exploit_share,
            seed=self.settings.search.seed,
        )
        for trial in self.trials:
            if _last(trial).from_epoch == reached:
                source, lineage = chosen[trial.number]
                return trial, self._begin_part(trial, until, lineage, parent=generation[source].run)
        return None

    def _begin_part(self, trial: Trial, from_epoch: int, lineage: Lineage, parent: str | None) -> Training:
        until = min(from_epoch + self.settings.search.generation_epochs, self._epochs)
        part = Part(lineage.root, list(lineage.stages), lineage.values, from_epoch, until, parent)
        run = part_name(self._name, trial.number, from_epoch)
        return self._begin(trial, Training(self.settings.seeds.values[0], run, part=part))


def _last(trial: Trial) -> Part:
    part = trial.trainings[-1].part
    assert part is not None
    return part


def _part_from(trial: Trial, from_epoch: int) -> Training:
    return next(training for training in trial.trainings if training.part and training.part.from_epoch == from_epoch)
