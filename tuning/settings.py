"""What a sweep is besides its space: objectives, search, early stopping, seeds and budget. Loads without ray."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from rlq_ray.config.schema import Section
from rlq_ray.config.section import Count, Positive

Share = Annotated[float, Field(gt=0, le=1)]


class SearchConfig(Section):
    """Where configurations come from."""

    kind: Literal["grid", "random", "tpe", "pbt"] = "tpe"
    """`grid` takes every combination; `tpe` is Optuna's tree-structured Parzen estimator, which with two objectives
    looks for their Pareto front; `pbt` is population based training, whose members change settings while they train."""
    seed: int = 0
    """Of what is drawn."""
    startup_trials: Count = 10
    """Configurations that `tpe` draws at random before it learns from their scores."""
    generation_epochs: Count = 4
    """CAP epochs after which the members of a population are compared."""
    exploit_share: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    """Share of a population that takes over another member's state each time."""


class StoppingConfig(Section):
    """Which trainings end early; asked for the first seed alone, since who comes further is to be known well."""

    kind: Literal["none", "asha", "median"] = "asha"
    """`asha` halves asynchronously, `median` stops what stays below the median of the others."""
    grace_epochs: Count = 4
    """CAP epochs that every training has."""
    reduction: Annotated[int, Field(ge=2)] = 2
    """Of `asha`: one in so many passes each comparison, and comparisons lie so many times further apart each time."""


class SeedsConfig(Section):
    """Trainings of one configuration, and how sure its score is to be."""

    values: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, 2)
    """Seeds in their order: all configurations get the first one, survivors the next."""
    keep: Share = 0.5
    """Share of a round's configurations that get another seed."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Of bounds and intervals."""

    @field_validator("values")
    @classmethod
    def _different(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(values)) < len(values):
            raise ValueError(f"seeds.values repeat one of {', '.join(map(str, values))}: give each seed once")
        return values


class BudgetConfig(Section):
    """When no further training is begun; those under way end."""

    trials: Count = 16
    """Configurations; a grid may be smaller."""
    hours: Positive | None = None
    """Hours since the sweep was begun, without those in which it did not run."""
    images: Count | None = None
    """Images that all trainings together have seen."""
    concurrent: Count | None = None
    """Trainings at a time; by default as many as the cluster has room for."""


class SweepSettings(Section):
    """How a space is searched."""

    objectives: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)] = ("lq/cc/mAP",)
    """Scores of the chosen checkpoint on the validation identities, `quality/protocol/metric`; the first one ranks."""
    search: SearchConfig = SearchConfig()
    """Where configurations come from."""
    stopping: StoppingConfig = StoppingConfig()
    """Which trainings end early."""
    seeds: SeedsConfig = SeedsConfig()
    """Trainings of one configuration."""
    budget: BudgetConfig = BudgetConfig()
    """When no further training is begun."""

    @field_validator("objectives")
    @classmethod
    def _are_scores(cls, objectives: tuple[str, ...]) -> tuple[str, ...]:
        for objective in objectives:
            if not re.fullmatch(r"[a-z-]+/(general|cc|sc)/(mAP|mINP|top(1|5|10|20))", objective):
                raise ValueError(f"objectives have '{objective}': write quality/protocol/metric, such as lq/cc/mAP")
        return objectives

    @model_validator(mode="after")
    def _differ(self) -> SweepSettings:
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError(f"objectives name '{self.objectives[0]}' twice: give another, or one alone")
        return self

    @model_validator(mode="after")
    def _population_is_whole(self) -> SweepSettings:
        if self.search.kind == "pbt" and (self.stopping.kind != "none" or len(self.seeds.values) > 1):
            raise ValueError(
                f"search.kind is 'pbt' with stopping.kind '{self.stopping.kind}' and {len(self.seeds.values)} seeds: a "
                "population stops nobody and has one seed, so set stopping.kind to none and give one of seeds.values"
            )
        return self

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the objectives among a training's metrics."""
        return tuple(f"validation/{objective}" for objective in self.objectives)
