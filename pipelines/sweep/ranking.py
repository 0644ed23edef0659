"""The ranking of a sweep's trials, in words and numbers: one table for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.page.words import MISSING, duration, percent, share
from pipelines.sweep.values import Sweep, Trial

LIKE_THE_BEST = "≈"
ON_THE_FRONT = "◆"


@dataclass(frozen=True)
class Cell:
    """What is read, what it is sorted by (a number, a text, or None for what comes last), and what is read beneath."""

    text: str
    order: float | str | None
    beneath: str = ""


@dataclass(frozen=True)
class Line:
    """One trial's cells, in the order of the columns."""

    trial: Trial
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Ranking:
    """The table: a line per trial, the best first; the last columns are the searched settings."""

    columns: tuple[str, ...]
    lines: Sequence[Line]

    def is_text(self, place: int) -> bool:
        """Tell whether a column holds words."""
        return any(isinstance(line.cells[place].order, str) for line in self.lines)


def ranking(sweep: Sweep) -> Ranking:
    """Lay the trials out in the order of their ranks, those that are out of the race at the bottom."""
    columns = (
        "rank",
        "trial",
        *(f"{objective.name} ({share(sweep.confidence)} interval)" for objective in sweep.objectives),
        "lower bound",
        "seeds",
        "state",
        *sweep.keys,
    )
    return Ranking(columns, [Line(trial, _cells(trial, sweep)) for trial in sweep.in_order])


def explanations(sweep: Sweep) -> list[str]:
    """Say how the ranking is to be read: what ranks, and what every mark means that is in it."""
    if not sweep.ranked:
        return ["No trial has finished yet."] if sweep.trials else ["No trial has begun yet."]
    best, *others = sweep.ranked
    said = [
        "Scores are in percent, means over all seeds: what a seed would have given a trial that was not trained with "
        "it is estimated from the trials that were. What ranks is the lower "
        f"{share(sweep.confidence)} confidence bound of {sweep.objectives[0].name}."
    ]
    like = [trial.number for trial in others if trial.is_indistinguishable]
    if like:
        said.append(
            f"{LIKE_THE_BEST} {_trials(like)} cannot be told from the best, trial {best.number}: "
            "chance may have decided between them."
        )
    elif others:
        said.append(f"Trial {best.number} stands apart: every other ranked trial can be told from it.")
    else:
        said.append("One trial is ranked: there is nothing yet to hold it against.")
    if any(trial.is_pareto for trial in sweep.trials):
        said.append(f"{ON_THE_FRONT} No other trial is at least as good in both objectives.")
    if any(trial.is_out for trial in sweep.trials):
        said.append("Greyed trials were stopped early, diverged or failed, and have no rank.")
    return said


def facts(sweep: Sweep) -> list[tuple[str, str]]:
    """Name what the sweep was and what it took; what is not known is left out."""
    states = ", ".join(f"{number} {state}" for state, number in sweep.trials_by_state.items() if number)
    spread = "" if sweep.deviation is None else f"{100 * sweep.deviation:.2f} points of {sweep.objectives[0].name}"
    named = [
        ("trainings", states),
        ("trained", duration(sweep.trained_seconds)),
        ("spared by early stops", duration(sweep.skipped_seconds)),
        ("search", sweep.search),
        ("scheduler", sweep.scheduler),
        ("seeds", ", ".join(map(str, sweep.seeds))),
        ("deviation of a training", spread),
        ("hardware", sweep.hardware),
        ("commit", sweep.commit),
        ("made", sweep.made),
    ]
    return [(name, text) for name, text in named if text]


def score_text(trial: Trial, place: int = 0) -> str:
    """Write an objective's mean with its interval, in percent."""
    if place >= len(trial.mean):
        return MISSING
    interval = trial.interval(place)
    ends = "" if interval is None else f" ({percent(interval[0])} … {percent(interval[1])})"
    return percent(trial.mean[place]) + ends


def value_text(value: Any) -> str:
    """Write a setting's value as a recipe does, but strings without quotes and small numbers to three digits."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.{3 if abs(value) < 1 else 6}g}" if isinstance(value, float) else str(value)


def _cells(trial: Trial, sweep: Sweep) -> tuple[Cell, ...]:
    best = trial.rank == 1
    rank = MISSING if trial.rank is None else str(trial.rank)
    like = f" {LIKE_THE_BEST}" if trial.is_indistinguishable and not best else ""
    front = f" {ON_THE_FRONT}" if trial.is_pareto else ""
    done = len({training.seed for training in trial.trainings if training.state == "finished"})
    scores = [
        Cell(score_text(trial, place), trial.mean[place] if place < len(trial.mean) else None)
        for place in range(len(sweep.objectives))
    ]
    return (
        Cell(rank + like, trial.rank),
        Cell(f"{trial.number}{front}", trial.number),
        *scores,
        Cell(MISSING if trial.lower is None else percent(trial.lower), trial.lower),
        Cell(f"{done} of {len(sweep.seeds)}" if sweep.seeds else str(done), done),
        Cell(trial.state, trial.state, beneath=trial.reason),
        *(_value_cell(trial, key) for key in sweep.keys),
    )


def _value_cell(trial: Trial, key: str) -> Cell:
    value = trial.values.get(key)
    if value is None:
        return Cell(MISSING, None)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(value_text(value), float(value) if is_number else value_text(value))


def _trials(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"Trial {numbers[0]}"
    return f"Trials {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
