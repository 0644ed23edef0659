"""The course of a population: every member a part of its training, then all compared, then the next part."""

from __future__ import annotations

from tuning.book import Book
from tuning.population import Lineage, next_generation
from tuning.record import Part, Training, Trial, part_name


class PopulationBook(Book):
    """A sweep by population based training; its configurations are the members, and nobody stops early."""

    def _begin_first(self, trial: Trial) -> Training:
        return self._begin_part(trial, 0, Lineage(trial.values, (), trial.values), parent=None)

    def _is_whole(self) -> bool:
        return all(_last(trial).until_epoch >= self._epochs for trial in self.trials)

    def _tell_search(self, trial: Trial) -> None:
        """Leave the search alone: members are drawn at random, and then learn from each other."""

    def _begin_next(self) -> tuple[Trial, Training] | None:
        """Begin the next part of a member; None while others of its generation are under way, or at the end."""
        reached = min(_last(trial).from_epoch for trial in self.trials)
        generation = {trial.number: _part_from(trial, reached) for trial in self.trials}
        parts = {number: training.part for number, training in generation.items() if training.part}
        until = parts[0].until_epoch
        if until >= self._epochs or not all(training.has_ended for training in generation.values()):
            return None
        chosen = next_generation(
            {number: Lineage(part.root, tuple(part.stages), part.values) for number, part in parts.items()},
            {
                number: training.chosen[1]
                for number, training in generation.items()
                if training.state == "finished" and training.chosen
            },
            self._space,
            from_epoch=until,
            exploit_share=self.settings.search.exploit_share,
            seed=self.settings.search.seed,
        )
        trial = next(trial for trial in self.trials if _last(trial).from_epoch == reached)
        source, lineage = chosen[trial.number]
        return trial, self._begin_part(trial, until, lineage, parent=generation[source].run)

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
