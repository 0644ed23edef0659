"""A sweep while it runs: trainings by state, the best so far and the time left, in one line that stays in place."""

from __future__ import annotations

import statistics
from types import TracebackType

from rich.live import Live
from rich.text import Text

from pipelines.console import stderr
from pipelines.sweep.file import SweepFile
from pipelines.sweep.plan import most_trainings
from tuning.book import Book
from tuning.record import Training, Trial, count_states


class SweepLive:
    """Shows a book's course: one line on a terminal, elsewhere a line for every training that ends.

    Args:
        file: of the sweep.
        book: its course.
        epochs: CAP epochs of a whole training.
        concurrent: trainings at a time.
    """

    def __init__(self, file: SweepFile, book: Book, epochs: int, concurrent: int) -> None:
        self._file = file
        self._book = book
        self._epochs = epochs
        self._concurrent = concurrent
        self._told = {training.run for training in self._ended()}
        self._live = Live(Text(), console=stderr, refresh_per_second=2, transient=True)

    def __enter__(self) -> SweepLive:
        if stderr.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def update(self) -> None:
        """Show what has changed."""
        for trial in self._book.trials:
            for training in trial.trainings:
                if training.has_ended and training.run not in self._told:
                    self._told.add(training.run)
                    stderr.print(f"  {self._describe(trial, training)}")
        if stderr.is_terminal:
            self._live.update(Text(f"  {self._line()}"))

    def _ended(self) -> list[Training]:
        return [training for trial in self._book.trials for training in trial.trainings if training.has_ended]

    def _describe(self, trial: Trial, training: Training) -> str:
        part = training.part
        chosen = part.values if part else trial.values
        values = ", ".join(f"{key.rpartition('.')[2]} {shown(value)}" for key, value in chosen.items())
        objectives = training.chosen[1:] if training.chosen else ()
        scores = " · ".join(
            f"{name} {100 * score:.1f}" for name, score in zip(self._file.objectives, objectives, strict=False)
        )
        why = f": {training.reason}" if training.reason else ""
        what = f"epochs {part.from_epoch} to {part.until_epoch}" if part else f"seed {training.seed}"
        return f"{trial.number} · {values} · {what} · {training.state}{why} · {scores}"

    def _line(self) -> str:
        counts = count_states(self._book.trials)
        states = " · ".join(f"{number} {state}" for state, number in sorted(counts.items()))
        model = self._book.model()
        known = [trial.number for trial in self._book.trials if trial.scores()]
        parts = [states]
        if known:
            best = max(known, key=lambda number: model.lower_bound(number, self._file.seeds.confidence))
            parts.append(f"best {best}: {self._file.objectives[0]} {100 * model.mean(best):.1f}")
        if (left_s := self._time_left_s()) is not None:
            parts.append(f"about {left_s / 60:.0f} min left")
        return " · ".join(parts)

    def _time_left_s(self) -> float | None:
        """Estimate from what trainings took so far, had all that may be asked for to be trained."""
        ended = self._ended()
        if not ended:
            return None
        left = sum(most_trainings(self._file, self._epochs)) - len(ended)
        return statistics.fmean(training.seconds for training in ended) * max(0, left) / self._concurrent


def shown(value: object) -> str:
    """Write a value of a setting for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
