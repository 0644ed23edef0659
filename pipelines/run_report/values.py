"""What is known about one training, as plain values; knows neither where it comes from nor how it looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Series = Sequence[tuple[int, float]]
"""(step or CAP epoch, value) of everything that was logged, in order, each step once."""

PERCENTAGES = ("top1", "mAP", "mINP")
"""Scores that a table shows, by the name of their metric."""


@dataclass(frozen=True)
class Score:
    """What one query quality scores under one protocol: fractions by metric, and their intervals where known."""

    quality: str
    protocol: str
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Change:
    """A setting that differs from the recipe; both values as text, None where there is none."""

    key: str
    recipe: str | None
    own: str | None


@dataclass(frozen=True)
class RunReport:
    """One training, finished or not.

    `losses` are by phase and term over optimiser steps, `scores` by (quality, protocol, metric) over CAP epochs,
    `course` and `diagnostics` by name. `recipe` says what `changes` are held against. `is_tracked` is false where
    nothing but the store's entry is known.
    """

    name: str
    state: str
    reason: str
    facts: Sequence[tuple[str, str]]
    config: Mapping[str, Any]
    recipe: str
    changes: Sequence[Change]
    is_tracked: bool
    best_epoch: int | None = None
    losses: Mapping[str, Mapping[str, Series]] = field(default_factory=dict)
    learning_rate: Series = ()
    course: Mapping[str, Series] = field(default_factory=dict)
    scores: Mapping[tuple[str, str, str], Series] = field(default_factory=dict)
    diagnostics: Mapping[str, Series] = field(default_factory=dict)
    validation: Sequence[Score] = ()
    """Of the best checkpoint so far."""
    test: Sequence[Score] = ()
    """Of the same on the test identities, where they were measured."""

    @property
    def select_on(self) -> str:
        """Protocol whose mAP on the validation identities chooses the checkpoint."""
        return str(self.config["evaluate"]["select_on"])


def read_scores(metrics: Mapping[str, float], prefix: str) -> list[Score]:
    """Sort flat metrics, `prefix/quality/protocol/metric`, into scores; ends of intervals are `…_low` and `…_high`."""
    grouped: dict[tuple[str, str], dict[str, float]] = {}
    for name, value in metrics.items():
        parts = name.split("/")
        if len(parts) == 4 and parts[0] == prefix:
            grouped.setdefault((parts[1], parts[2]), {})[parts[3]] = value
    return [
        Score(quality, protocol, own, dict(_intervals(own, PERCENTAGES)))
        for (quality, protocol), own in sorted(grouped.items(), key=lambda item: _place(*item[0]))
        if "mAP" in own
    ]


def _intervals(own: Mapping[str, float], names: Iterable[str]) -> Iterable[tuple[str, tuple[float, float]]]:
    for name in names:
        if f"{name}_low" in own and f"{name}_high" in own:
            yield name, (own[f"{name}_low"], own[f"{name}_high"])


def _place(quality: str, protocol: str) -> tuple[int, str, int, str]:
    """Order by protocol as published, then HQ, LQ, and artefacts from mild to severe."""
    protocols, qualities, severities = ("cc", "sc", "general"), ("hq", "lq"), ("", "mild", "medium", "severe")
    artefact, _, severity = quality.partition("-")
    return (
        protocols.index(protocol) if protocol in protocols else len(protocols),
        f"{qualities.index(quality)}" if quality in qualities else f"~{artefact}",
        severities.index(severity) if severity in severities else len(severities),
        quality,
    )
