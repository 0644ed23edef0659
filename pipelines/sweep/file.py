"""A sweep: a recipe, a space of settings around it, and how that is searched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import model_validator

from pipelines.recipe import recipe_path
from pipelines.study_file import StudyFile, read_study
from rlq_ray.config.load import flatten, merge, nested, read_settings, to_dict
from rlq_ray.config.schema import EvaluateConfig, ExperimentConfig
from rlq_ray.errors import UsageError
from tuning.population import check_population_space
from tuning.proposals import most_configurations
from tuning.settings import SweepSettings
from tuning.space import Space, check_space, examples, settings_of

SWEEPS = Path(__file__).parents[1] / "sweeps"
OWN = {"seed": "seeds.values of the file", "name": "--name"}
"""Settings that a sweep sets itself, and where they are given instead."""
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
        most = self.budget.trials
        if self.search.kind == "grid" and most_configurations(self.space, self.search, most + 1) > most:
            raise ValueError(
                f"the grid has more configurations than budget.trials, which is {most}: raise it, take fewer points, "
                "or let search.kind be random or tpe"
            )
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

    def with_whole_paths(self) -> SweepFile:
        """Name recipes of the user's own by whole paths, since the sweep may be resumed from another folder."""
        own = {role: name for role in ("recipe", "teacher") if (name := getattr(self, role)).endswith(".toml")}
        return self.model_copy(update={role: str(Path(name).absolute()) for role, name in own.items()})

    def epochs(self, overrides: Iterable[str]) -> int:
        """Give the CAP epochs of a whole training."""
        return self.config({}, [*NAMES_TO_COME, *overrides]).train.epochs

    def recipe_of(self, changes: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
        """Give a recipe's settings, complete but for data and teacher, that changes some dotted settings."""
        overrides = list(overrides)
        checked = self.changed_config(changes, [*NAMES_TO_COME, *overrides])
        config = flatten({**to_dict(checked), "teacher_draws": checked.teacher_draws})  # 0 is left out of plain values
        keys = list(map(_key, overrides))
        overridden = {
            setting: value
            for setting, value in config.items()
            if value is not None and any(_overlap(setting, key) for key in keys)
        }
        changed = nested({**changes, **overridden})
        return merge(read_settings(recipe_path(self.recipe)), merge(self.settings, changed))

    def check(self, overrides: Iterable[str]) -> None:
        """Refuse what cannot be trained or measured, before anything is trained.

        Raises:
            UsageError: a value is not possible, alone or beside another; an override changes what is searched; an
                objective is not measured.
        """
        overrides = list(overrides)
        searched = {setting for values in examples(self.space) for setting in settings_of(self.space, values)}
        if placed := sorted(setting for setting in searched if _overlap(setting, "workers")):
            raise UsageError(
                f"the space searches {placed[0]}, but all trainings of a sweep take the same room: "
                "set it in [settings.workers], and begin one sweep for each"
            )
        for override in overrides:
            if own := sorted(setting for setting in searched if _overlap(setting, _key(override))):
                raise UsageError(f"the space searches {own[0]}, so '{override}' is refused: take one of the two away")
        configs = [self.config(values, [*NAMES_TO_COME, *overrides]) for values in examples(self.space)]
        for config in configs:
            self._refuse_unmeasured(config.evaluate)
        _refuse_other_pixels([config for config in configs if config.caches_teacher])
        every, generation = config.train.evaluate_every_epochs, self.search.generation_epochs
        if self.search.kind == "pbt" and generation % every:
            raise UsageError(
                f"search.generation_epochs is {generation}, which train.evaluate_every_epochs={every} does not divide: "
                f"a population is compared where it is evaluated, so take a multiple of {every}"
            )

    def config_with_most_draws(self, overrides: Iterable[str]) -> ExperimentConfig:
        """Build the configuration, of those that there may be, which needs the most of the teacher's features."""
        configs = (self.config(values, overrides) for values in examples(self.space))
        return max(configs, key=lambda config: config.teacher_draws if config.needs_teacher else 0)

    def _refuse_unmeasured(self, evaluate: EvaluateConfig) -> None:
        for objective in self.objectives:
            quality, protocol, _ = objective.split("/")
            for name, own, known in (
                ("qualities", quality, ("hq", *evaluate.qualities)),
                ("protocols", protocol, evaluate.protocols),
            ):
                if own not in known:
                    raise UsageError(
                        f"the objective '{objective}' is not measured, as evaluate.{name} has {', '.join(known)}: "
                        f"add '{own}' there, or take another objective"
                    )


def _refuse_other_pixels(configs: Sequence[ExperimentConfig]) -> None:
    """Hold configurations to the pixels that the teacher's features are computed of, once for all trainings.

    Raises:
        UsageError: they show the teacher others.
    """
    shown = [flatten(config.shown_to_teacher) for config in configs]
    for other in shown[1:]:
        if changed := [key for key in other if other[key] != shown[0][key]]:
            raise UsageError(
                f"the space changes '{changed[0]}', and with it what a teacher sees whose features are computed once: "
                "take it out of the space, or set teacher_draws=0"
            )


def _key(override: str) -> str:
    return override.partition("=")[0].strip()


def _overlap(one: str, other: str) -> bool:
    """Tell whether two dotted keys are the same setting, or one is a section that holds the other."""
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def read_sweep_file(name: str) -> SweepFile:
    """Read a sweep by its name among those that are shipped, or by its path; `extends` works as in recipes.

    Raises:
        UsageError: there is none, it is not TOML, or a setting of it is wrong.
    """
    return read_study(name, SWEEPS, "sweep", SweepFile)
