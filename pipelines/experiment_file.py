"""An experiment: rows of one table, each a recipe with changes, all trained with the same seeds on the same data."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from pipelines.study_file import StudyFile, read_study
from rlq_ray.config.schema import ExperimentConfig, Quality, Section
from rlq_ray.errors import UsageError

EXPERIMENTS = Path(__file__).parent / "experiments"


class Row(Section):
    """One line of the table."""

    recipe: str
    """Name of a shipped recipe, or the path of one."""
    label: str
    """What people read."""
    name: str = ""
    """Of the row, for files and comparisons; by default that of the recipe."""
    settings: Annotated[dict[str, Any], Field(default_factory=dict)]
    """What it changes in the recipe, after the settings of all rows."""

    @property
    def key(self) -> str:
        """Name of the row."""
        return self.name or self.recipe


class Comparison(Section):
    """A difference that the report states with its interval."""

    before: str
    """Name of a row."""
    after: str
    """Name of a row."""
    question: str
    """What the difference answers."""


class ExperimentFile(StudyFile):
    """The whole table."""

    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, 2)
    """Seeds with which every row is trained."""
    qualities: tuple[Quality, ...] = ("hq", "lq")
    """Of the test queries."""
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]
    """Lines of the table; the first is the one that gains are counted from."""
    comparisons: tuple[Comparison, ...] = ()
    """Differences to be stated."""

    @model_validator(mode="after")
    def _consistent(self) -> ExperimentFile:
        keys = [row.key for row in self.rows]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise ValueError(f"two rows are called '{twice[0]}': give one of them another name")
        if missing := [quality for quality in ("hq", "lq") if quality not in self.qualities]:
            raise ValueError(f"qualities lack '{missing[0]}': every table shows hq and lq")
        for key in keys:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", key):
                raise ValueError(f"a row is called '{key}': give it a name of letters, digits, '.', '_' and '-'")
        for comparison in self.comparisons:
            for key in (comparison.before, comparison.after):
                if key not in keys:
                    raise ValueError(f"a comparison names the row '{key}': there are {', '.join(keys)}")
        return self

    def row(self, key: str) -> Row:
        """Find a row by its name.

        Raises:
            UsageError: there is none.
        """
        for row in self.rows:
            if row.key == key:
                return row
        raise UsageError(f"there is no row '{key}': choose among {', '.join(row.key for row in self.rows)}")

    def config(self, row: Row, overrides: Iterable[str]) -> ExperimentConfig:
        """Build a row's configuration; the overrides have the last word.

        Raises:
            UsageError: a setting is unknown, or contradicts another.
        """
        return self.recipe_config(row.recipe, row.settings, f"{self.name}-{row.key}", overrides)


def read_experiment_file(name: str) -> ExperimentFile:
    """Read an experiment by its name among those that are shipped, or by its path.

    An experiment that says `extends = "other.toml"` has that one's settings where it gives none; its own rows and
    comparisons take the place of all of the other's.

    Raises:
        UsageError: there is none, it is not TOML, or a setting of it is wrong.
    """
    return read_study(name, EXPERIMENTS, "experiment", ExperimentFile)
