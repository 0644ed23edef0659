"""A sweep's report as typed values, whatever part of it there is yet; knows neither Ray nor how a report looks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

OUT_OF_THE_RACE = ("stopped early", "diverged", "failed")
"""States of a trial that ended without all its trainings."""
_ORDER_OF_STATES = ("finished", "running", "waiting", *OUT_OF_THE_RACE)


class _Part(BaseModel):
    """A part of the report: what is null counts as missing, and what is missing has its default."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_null(cls, values: Any) -> Any:
        return {k: v for k, v in values.items() if v is not None} if isinstance(values, Mapping) else values


class Objective(_Part):
    """What is maximised, a fraction."""

    metric: str
    label: str = ""

    @property
    def name(self) -> str:
        """What people read."""
        return self.label or self.metric


class Training(_Part):
    """One training of a trial."""

    seed: int
    state: str = "finished"
    epoch: int | None = None
    curve: tuple[tuple[float, float], ...] = ()
    """CAP epoch and the first objective."""


class Trial(_Part):
    """One choice of settings, with its scores over all seeds."""

    number: int
    state: str = "waiting"
    reason: str = ""
    values: dict[str, Any] = {}
    """By the name of the setting; one that depends on another may be missing."""
    rank: int | None = None
    mean: tuple[float, ...] = ()
    """Of each objective; empty before a training finished, and where a score is not finite."""
    lower: float | None = None
    """Lower confidence bound of the first objective: what ranks."""
    intervals: tuple[tuple[float, float] | None, ...] = ()
    """Two-sided, of each objective's mean; None where nobody knows."""
    is_indistinguishable: bool = False
    is_pareto: bool = False
    trainings: tuple[Training, ...] = ()

    @field_validator("mean")
    @classmethod
    def _keep_finite(cls, mean: tuple[float, ...]) -> tuple[float, ...]:
        return mean if all(map(math.isfinite, mean)) else ()

    def interval(self, place: int = 0) -> tuple[float, float] | None:
        """Give the interval of an objective's mean; None while nobody knows."""
        return self.intervals[place] if place < len(self.intervals) else None

    @property
    def is_out(self) -> bool:
        """Whether it left the race without a rank."""
        return self.rank is None and self.state in OUT_OF_THE_RACE

    @property
    def place(self) -> tuple[float, int, int]:
        """What orders trials: by rank, then those under way, then those that are out."""
        known = self.state in _ORDER_OF_STATES
        state = _ORDER_OF_STATES.index(self.state) if known else len(_ORDER_OF_STATES)
        return (math.inf if self.rank is None else self.rank, state, self.number)


class Winner(_Part):
    """The trial to go on with, and its recipe in TOML."""

    number: int
    recipe: str


class Sweep(_Part):
    """All that is known about a sweep, finished or not."""

    name: str = "sweep"
    title: str = ""
    state: str = "running"
    made: str = ""
    commit: str = ""
    hardware: str = ""
    objectives: tuple[Objective, ...] = (Objective(metric="objective"),)
    search: str = ""
    scheduler: str = ""
    seeds: tuple[int, ...] = ()
    confidence: float = 0.95
    keys: tuple[str, ...] = ()
    log_keys: tuple[str, ...] = ()
    trials: tuple[Trial, ...] = ()
    deviation: float | None = None
    """Standard deviation of a training's first objective, beside what a seed does to all."""
    importance: dict[str, float] = {}
    gradient_conflict: tuple[tuple[int, float], ...] = ()
    """Trial number, and the mean cosine between the gradients of CAP and TAD steps."""
    conclusion: tuple[str, ...] = ()
    winner: Winner | None = None
    counts: dict[str, int] = {}
    trained_seconds: float | None = None
    skipped_seconds: float | None = None

    @property
    def in_order(self) -> list[Trial]:
        """All trials, the best first."""
        return sorted(self.trials, key=lambda trial: trial.place)

    @property
    def ranked(self) -> list[Trial]:
        """The trials with a rank and a score, the best first."""
        return [trial for trial in self.in_order if trial.rank is not None and trial.mean]

    @property
    def trials_by_state(self) -> dict[str, int]:
        """How many trials are in every state."""
        return self.counts or dict(Counter(trial.state for trial in self.in_order))


def read_sweep(report: Mapping[str, Any]) -> Sweep:
    """Read a report's plain values.

    Raises:
        pydantic.ValidationError: a part is there, but not of its kind.
    """
    return Sweep.model_validate(report)
