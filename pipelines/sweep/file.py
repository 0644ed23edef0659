"""A sweep: a recipe, a space of settings around it, and how that is searched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import model_validator

from pipelines.recipe import recipe_path
from pipelines.study_file import StudyFile, read_study
from rlq_ray.config.load import flatten, merge, nested, read_settings, to_dict
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.errors import UsageError
from tuning.population import check_population_space
from tuning.settings import SweepSettings
from tuning.space import Space, check_space, examples, settings_of

SWEEPS = Path(__file__).parents[1] / "sweeps"
NAMES_TO_COME = ("data.target=target", "data.external=external", "teacher=teacher")
"""Stand for what is not made yet, where only the other settings matter."""


class SweepFile(StudyFile, SweepSettings):
    """The whole sweep."""

    recipe: str
    """Name of a shipped recipe, or the path of one, that configurations change."""
    space: Space
    """What they change."""

    @model_validator(mode="after")
    def _space_can_be_searched(self) -> SweepFile:
        try:
            check_space(self.space)
            if self.search.kind == "pbt":
                check_population_space(self.space)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return self

    def config(self, values: Mapping[str, Any], overrides: Iterable[str]) -> ExperimentConfig:
        """Build the configuration with some values of the space; the overrides have the last word.

        Raises:
            UsageError: a setting is unknown, or contradicts another.
        """
        return self.changed_config(settings_of(self.space, values), overrides)

    def changed_config(self, changes: Mapping[str, Any], overrides: Iterable[str]) -> ExperimentConfig:
        """Build the configuration with some dotted settings changed; see `config`."""
        return self.recipe_config(self.recipe, nested(changes), self.name, overrides)

    def epochs(self, overrides: Iterable[str]) -> int:
        """Give the CAP epochs of a whole training."""
        return self.config({}, [*NAMES_TO_COME, *overrides]).train.epochs

    def recipe_of(self, changes: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
        """Give a recipe's settings, complete but for data and teacher, that changes some dotted settings."""
        overrides = list(overrides)
        config = flatten(to_dict(self.changed_config(changes, [*NAMES_TO_COME, *overrides])))
        overridden = {key: config[key] for override in overrides if (key := override.partition("=")[0].strip())}
        changed = nested({**changes, **overridden})
        own = merge(read_settings(recipe_path(self.recipe)), merge(self.settings, changed))
        return {key: value for key, value in own.items() if key != "data" or value}

    def check(self, overrides: Iterable[str]) -> None:
        """Refuse a space with values that make no configuration, before anything is trained.

        Raises:
            UsageError: a value is not possible, alone or beside another.
        """
        overrides = list(overrides)
        searched = {key for values in examples(self.space) for key in settings_of(self.space, values)}
        for override in overrides:
            key = override.partition("=")[0].strip()
            if key in searched:
                raise UsageError(f"the space searches {key}, so '{override}' is refused: take one of the two away")
        for values in examples(self.space):
            self.config(values, [*NAMES_TO_COME, *overrides])


def read_sweep_file(name: str) -> SweepFile:
    """Read a sweep by its name among those that are shipped, or by its path; `extends` works as in recipes.

    Raises:
        UsageError: there is none, it is not TOML, or a setting of it is wrong.
    """
    return read_study(name, SWEEPS, "sweep", SweepFile)
