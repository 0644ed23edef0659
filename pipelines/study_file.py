"""What files of many trainings share: the data, the teacher, and settings that all trainings have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError

from pipelines.recipe import recipe_path, shipped_or_own
from rlq_ray.config.load import build_config, merge, read_settings
from rlq_ray.config.schema import ExperimentConfig, Section
from rlq_ray.errors import UsageError


class StudyFile(Section):
    """Trainings on the same data with the same teacher."""

    name: str
    """Of the study."""
    title: str
    """What people read above its results."""
    preset: str | None = None
    """Rendered people to train on; by default the data sets that `data.target` and `data.external` name."""
    pose_clusters: Annotated[int, Field(ge=2)] = 15
    """Pose clusters of rendered people."""
    data_seed: int = 0
    """Seed of rendered people."""
    teacher: str = "base"
    """Recipe of the teacher, which is trained once on the external set."""
    teacher_seed: int = 50
    """Its seed, apart from those of the other trainings."""
    teacher_settings: Annotated[dict[str, Any], Field(default_factory=dict)]
    """What the teacher changes after the settings of all; such as its length, since it is trained once."""
    settings: Annotated[dict[str, Any], Field(default_factory=dict)]
    """What all trainings and the teacher change in their recipes."""

    def recipe_config(
        self, recipe: str, changes: Mapping[str, Any], name: str, overrides: Iterable[str]
    ) -> ExperimentConfig:
        """Build the configuration of a recipe with the study's settings and then some changes; overrides come last.

        Raises:
            UsageError: a setting is unknown, or contradicts another.
        """
        settings = merge(read_settings(recipe_path(recipe)), merge(self.settings, changes))
        return build_config(settings | {"name": name}, overrides)

    def teacher_config(self, external: str, overrides: Iterable[str]) -> ExperimentConfig:
        """Build the configuration of the teacher, whose target is the external set.

        Raises:
            UsageError: see `recipe_config`.
        """
        sources = [f"data.target={external}", f"seed={self.teacher_seed}", "evaluate.test_curve=false"]
        overrides = [*overrides, *sources]
        config = self.recipe_config(self.teacher, self.teacher_settings, f"{self.name}-teacher", overrides)
        if config.schedule.tad_steps:
            raise UsageError(f"the teacher's recipe '{self.teacher}' has TAD steps: take a base model, such as base")
        return config


File = TypeVar("File", bound=StudyFile)


def read_study(name: str, folder: Path, kind: str, model: type[File]) -> File:
    """Read a study by its name in a folder of the package, or by its path.

    Args:
        name: of the study, or path of a TOML file.
        folder: of those that are shipped.
        kind: what errors call it.
        model: what it must be.

    Raises:
        UsageError: there is none, it is not TOML, or a setting of it is wrong.
    """
    path = shipped_or_own(name, folder, kind)
    try:
        return model.model_validate(read_settings(path, kind))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        raise UsageError(f"the {kind} {path}: {f'{where}: ' if where else ''}{message}") from None
