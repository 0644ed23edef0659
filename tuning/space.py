"""What a sweep may change: a domain for each dotted setting, some of them only under a condition.

Pure: knows neither how values are searched nor what is done with them.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Protocol

import numpy as np
from pydantic import Field, field_validator, model_validator

from rlq_ray.config.schema import Section
from rlq_ray.errors import UsageError

Values = dict[str, Any]
"""A value for each setting that counts, by its dotted key."""


class Domain(Section):
    """The values that one setting may take: one of `choice`, `named`, `uniform`, `log_uniform` and `integers`."""

    choice: tuple[Any, ...] = ()
    """Values."""
    named: Annotated[dict[str, dict[str, Any]], Field(default_factory=dict)]
    """Values by name, each a table of dotted settings that belong together; the key is then a word of your own."""
    uniform: tuple[float, float] | None = None
    """Ends of a range of numbers."""
    log_uniform: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] | None = None
    """Ends of a range of numbers whose logarithm is spread evenly."""
    integers: tuple[int, int] | None = None
    """Ends of a range of whole numbers, both possible."""
    points: Annotated[int, Field(ge=2)] = 5
    """Values that a grid takes of a range, evenly spread, ends included."""
    when: Annotated[dict[str, tuple[Any, ...]], Field(default_factory=dict)]
    """Earlier settings of the space, of `choice` or `named`, and values of each with which this one counts."""

    @field_validator("when", mode="before")
    @classmethod
    def _as_lists(cls, when: Any) -> Any:
        if not isinstance(when, Mapping):
            return when
        return {key: value if isinstance(value, list | tuple) else [value] for key, value in when.items()}

    @model_validator(mode="after")
    def _one_kind(self) -> Domain:
        ranges = [ends for ends in (self.uniform, self.log_uniform, self.integers) if ends is not None]
        if len(ranges) + bool(self.choice) + bool(self.named) != 1:
            raise ValueError("a domain is one of choice, named, uniform, log_uniform and integers: give exactly one")
        for low, high in ranges:
            if low >= high:
                raise ValueError(f"a domain goes from {low:g} to {high:g}: give the smaller end first")
        words = list(map(_word, self.choice))
        if repeated := [word for word in words if words.count(word) > 1]:
            raise ValueError(f"a choice has {repeated[0]} twice: give each value once")
        return self

    @property
    def options(self) -> tuple[Any, ...]:
        """The values, where they are no numbers of a range."""
        return self.choice or tuple(self.named)

    @property
    def is_log(self) -> bool:
        """Whether values are better seen on a logarithmic axis."""
        return self.log_uniform is not None

    def counts(self, values: Mapping[str, Any]) -> bool:
        """Tell whether the setting counts beside the values of earlier ones."""
        return all(key in values and values[key] in allowed for key, allowed in self.when.items())

    def grid(self) -> list[Any]:
        """List the values that a grid takes."""
        if self.options:
            return list(self.options)
        if self.integers is not None:
            low, high = self.integers
            return sorted({round(value) for value in np.linspace(low, high, min(self.points, high - low + 1))})
        if self.log_uniform is not None:
            return np.geomspace(*self.log_uniform, self.points).tolist()
        assert self.uniform is not None
        return np.linspace(*self.uniform, self.points).tolist()


Space = dict[str, Domain]


class Chooser(Protocol):
    """Chooses values one at a time, knowing what was chosen before; as `optuna.Trial` does."""

    def suggest_categorical(self, name: str, choices: list[str]) -> str:
        """Choose one of some words."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """Choose a number."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Choose a whole number."""


def check_space(space: Mapping[str, Domain]) -> None:
    """Refuse a space in which some value can never be taken, or in which two of its keys change the same setting.

    Raises:
        UsageError: it is empty; a condition names a setting that does not come before or is a range, or a value that
            this one cannot take; conditions exclude each other; a setting is changed twice.
    """
    if not space:
        raise UsageError(
            'the space is empty: name a setting to search, such as "schedule.tad_steps" = { choice = [1, 2, 4] }'
        )
    earlier: dict[str, Domain] = {}
    changed_by: dict[str, str] = {}
    for key, domain in space.items():
        for other, allowed in domain.when.items():
            _check_condition(key, other, allowed, earlier)
        earlier[key] = domain
        if _where_it_counts(earlier, key) is None:
            raise UsageError(f"the space lets {key} never count, as its conditions exclude each other: mend its 'when'")
        for setting in sorted({*itertools.chain(*domain.named.values())}) if domain.named else [key]:
            if setting in changed_by:
                raise UsageError(
                    f"the space changes {setting} both by {changed_by[setting]} and by {key}: take one of them away"
                )
            changed_by[setting] = key


def _check_condition(key: str, other: str, allowed: Sequence[Any], earlier: Mapping[str, Domain]) -> None:
    """Refuse a condition on a setting that does not come before, or that can never hold."""
    if other not in earlier:
        raise UsageError(f"the space lets {key} count when {other} has a value: put {other} before it")
    options = list(map(_word, earlier[other].options))
    if not options:
        raise UsageError(f"the space lets {key} count when {other} has a value, but that is a range: make it a choice")
    if never := [value for value in allowed if _word(value) not in options]:
        raise UsageError(
            f"the space lets {key} count when {other} is {_word(never[0])}, which it never is: "
            f"take one of {', '.join(options)}"
        )


def choose(space: Mapping[str, Domain], chooser: Chooser) -> Values:
    """Let a chooser take a value for every setting that counts."""
    values: Values = {}
    for key, domain in space.items():
        if domain.counts(values):
            values[key] = _choose_one(key, domain, chooser)
    return values


def _choose_one(key: str, domain: Domain, chooser: Chooser) -> Any:
    if domain.options:
        by_word = {_word(value): value for value in domain.options}
        return by_word[chooser.suggest_categorical(key, list(by_word))]
    if domain.integers is not None:
        return chooser.suggest_int(key, *domain.integers)
    ends = domain.log_uniform or domain.uniform
    assert ends is not None
    return chooser.suggest_float(key, *ends, log=domain.is_log)


def choices_made(space: Mapping[str, Domain], values: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a chooser must have answered to come to these values."""
    return {key: _word(value) if space[key].options else value for key, value in values.items()}


def settings_of(space: Mapping[str, Domain], values: Mapping[str, Any]) -> dict[str, Any]:
    """Give the dotted settings that values stand for."""
    settings: dict[str, Any] = {}
    for key, value in values.items():
        settings |= space[key].named[value] if space[key].named else {key: value}
    return settings


def grid(space: Mapping[str, Domain]) -> Iterator[Values]:
    """List every combination once, the last setting changing fastest; those that do not count are left out."""
    yield from _grid(list(space.items()), {})


def _grid(left: Sequence[tuple[str, Domain]], values: Values) -> Iterator[Values]:
    if not left:
        yield values
        return
    (key, domain), *others = left
    for further in [{key: value} for value in domain.grid()] if domain.counts(values) else [{}]:
        yield from _grid(others, values | further)


def examples(space: Mapping[str, Domain]) -> Iterator[Values]:
    """List configurations in which every value of a grid comes up, the other settings at their first one."""
    for key, domain in space.items():
        for option in domain.grid():
            asked = (_where_it_counts(space, key) or {}) | {key: option}
            values: Values = {}
            for other, own in space.items():
                if own.counts(values):
                    values[other] = asked.get(other, own.grid()[0])
            yield values


def _where_it_counts(space: Mapping[str, Domain], key: str) -> Values | None:
    """Give values of the settings that a condition leads back to with which one counts; None if there are none."""
    involved = _led_back_to(space, key)
    combinations = grid({other: domain for other, domain in space.items() if other in involved})
    return next((values for values in combinations if space[key].counts(values)), None)


def _led_back_to(space: Mapping[str, Domain], key: str) -> set[str]:
    conditions = set(space[key].when)
    return conditions.union(*(_led_back_to(space, other) for other in conditions))


def _word(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
