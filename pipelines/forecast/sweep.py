"""From what a training takes to what a sweep of them takes, with early stopping as a range. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.forecast.training import Range
from tuning.settings import BudgetConfig, StoppingConfig
from tuning.stopping import asha_rungs


@dataclass(frozen=True)
class SweepCost:
    """What a sweep's trainings take together.

    `rounds` counts the trainings of each seed, at most; `course_s` is that of a training from its first step on, the
    mean over configurations, and `images` what it is shown; `begin_s` and `build_s` come before it, the first once for
    every training that runs at a time, as processes are used again.
    """

    rounds: Sequence[int]
    at_a_time: int
    begin_s: Range
    build_s: Range
    course_s: Range
    images: float
    kept_share: float
    """Least share of the first round's course that early stopping leaves."""

    @property
    def trained_s(self) -> Range:
        """Seconds of all trainings together."""
        first, *others = self.rounds
        least = self.build_s.low * sum(self.rounds) + self.course_s.low * (first * self.kept_share + sum(others))
        return Range(least, (self.build_s.high + self.course_s.high) * sum(self.rounds))

    def seconds(self, budget: BudgetConfig) -> Range:
        """Give the seconds until all are trained, or the budget is spent: those under way then still end.

        Trainings fill the places that there are; at the end of the sweep, places stay empty for a training at most.
        """
        work, whole = self.trained_s, self.build_s.plus(self.course_s)
        least, most = work.low / self.at_a_time, work.high / self.at_a_time + whole.high * (self.at_a_time > 1)
        most = max(most, whole.high)
        if budget.images is not None:
            share = budget.images / (self.images * sum(self.rounds))
            least, most = least * min(1.0, share), min(most, most * share + whole.high)
        if budget.hours is not None:
            least, most = min(least, 3600 * budget.hours), min(most, 3600 * budget.hours + whole.high)
        return Range(least, most).plus(self.begin_s)


def least_share(stopping: StoppingConfig, epochs: int) -> float:
    """Give the least share of a round's epochs that early stopping leaves, were it to stop all that it may.

    That is `asha` passing exactly one in `reduction` at every rung, and `median` stopping half at once.
    """
    if stopping.kind == "none":
        return 1.0
    if stopping.kind == "median":
        return (min(stopping.grace_epochs, epochs) + epochs) / 2 / epochs
    rungs = [*asha_rungs(stopping.grace_epochs, stopping.reduction, epochs), epochs]
    trained = sum(
        (rung - before) / stopping.reduction**place
        for place, (before, rung) in enumerate(zip([0, *rungs], rungs, strict=False))
    )
    return float(trained / epochs)
