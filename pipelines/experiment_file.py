"""An experiment: rows of one table, each a recipe with changes, all trained with the same seeds on the same data."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from pipelines.recipe import recipe_path, shipped_or_own
from rlq_ray.config.load import build_config, merge, read_settings
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


class ExperimentFile(Section):
    """The whole table."""

    name: str
    """Of the experiment."""
    title: str
    """What people read above the table."""
    preset: str | None = None
    """Rendered people to train on; by default the data sets that `data.target` and `data.external` name."""
    pose_clusters: Annotated[int, Field(ge=2)] = 15
    """Pose clusters of rendered people."""
    data_seed: int = 0
    """Seed of rendered people."""
    teacher: str = "base"
    """Recipe of the teacher, which is trained once on the external set."""
    teacher_seed: int = 50
    """Its seed, apart from those of the rows."""
    teacher_settings: Annotated[dict[str, Any], Field(default_factory=dict)]
    """What the teacher changes after the settings of all rows; such as its length, since it is trained once."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, 2)
    """Seeds with which every row is trained."""
    qualities: tuple[Quality, ...] = ("hq", "lq")
    """Of the test queries."""
    settings: Annotated[dict[str, Any], Field(default_factory=dict)]
    """What all rows and the teacher change in their recipes."""
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
        settings = merge(read_settings(recipe_path(row.recipe)), merge(self.settings, row.settings))
        return build_config(settings | {"name": f"{self.name}-{row.key}"}, overrides)

    def teacher_config(self, external: str, overrides: Iterable[str]) -> ExperimentConfig:
        """Build the configuration of the teacher, whose target is the external set.

        Raises:
            UsageError: see `config`.
        """
        settings = merge(read_settings(recipe_path(self.teacher)), merge(self.settings, self.teacher_settings))
        sources = [f"data.target={external}", f"seed={self.teacher_seed}", "evaluate.test_curve=false"]
        config = build_config(settings | {"name": f"{self.name}-teacher"}, [*overrides, *sources])
        if config.schedule.tad_steps:
            raise UsageError(f"the teacher's recipe '{self.teacher}' has TAD steps: take a base model, such as base")
        return config


def read_experiment_file(name: str) -> ExperimentFile:
    """Read an experiment by its name among those that are shipped, or by its path.

    An experiment that says `extends = "other.toml"` has that one's settings where it gives none; its own rows and
    comparisons take the place of all of the other's.

    Raises:
        UsageError: there is none, it is not TOML, or a setting of it is wrong.
    """
    path = shipped_or_own(name, EXPERIMENTS, "experiment")
    try:
        return ExperimentFile.model_validate(read_settings(path, "experiment"))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        raise UsageError(f"the experiment {path}: {f'{where}: ' if where else ''}{message}") from None
