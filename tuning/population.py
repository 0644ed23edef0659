"""Population based training: members change schedule and loss weights while they train (Jaderberg et al., 2017).

All members train for a generation; then the worst take over the state of one of the best, and its settings a little
changed, and all train on. Pure: what a generation does depends on the scores of the one before and the seed alone, so
it comes out alike after a restart. The settings that led to a member's state are a list of stages, which a recipe
replays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlq_ray.errors import UsageError
from tuning.record import Training, Trial
from tuning.space import Domain, Values, settings_of

STAGE_KEYS = {
    "schedule.cap_steps": "cap_steps",
    "schedule.tad_steps": "tad_steps",
    "optimizer.learning_rate": "learning_rate",
}
"""Settings that a stage of a training can change, by dotted key, beside `loss.weights`."""
WEIGHT = "loss.weights."
FACTORS = (0.8, 1.25)
"""By one of which a number is changed."""
REDRAW = 0.25
"""Chance that a setting is drawn anew instead."""


@dataclass(frozen=True)
class Lineage:
    """How a member came to its settings: those that its line began with, the changes since, and those of now."""

    root: Values
    stages: tuple[dict[str, Any], ...]
    values: Values

    def settings(self, space: Mapping[str, Domain]) -> dict[str, Any]:
        """Give the dotted settings of a training that replays it."""
        return settings_of(space, self.root) | ({"stages": list(self.stages)} if self.stages else {})

    def changed(self, space: Mapping[str, Domain], values: Values, from_epoch: int) -> Lineage:
        """Take other values from a CAP epoch on."""
        before, after = settings_of(space, self.values), settings_of(space, values)
        changes = {key: value for key, value in after.items() if before.get(key) != value}
        if not changes:
            return self
        stage: dict[str, Any] = {"from_epoch": from_epoch}
        weights = {key.removeprefix(WEIGHT): value for key, value in changes.items() if key.startswith(WEIGHT)}
        stage |= {STAGE_KEYS[key]: value for key, value in changes.items() if key in STAGE_KEYS}
        return Lineage(self.root, (*self.stages, stage | ({"weights": weights} if weights else {})), values)


def changes_of(space: Mapping[str, Domain], trial: Trial, training: Training) -> dict[str, Any]:
    """Give the dotted settings that a training changes; those of a member of a population with their stages."""
    if training.part is None:
        return settings_of(space, trial.values)
    return Lineage(training.part.root, tuple(training.part.stages), training.part.values).settings(space)


def check_population_space(space: Mapping[str, Domain]) -> None:
    """Refuse a space that cannot be changed while a training runs.

    Raises:
        UsageError: a setting is none that a stage can change, or counts under a condition.
    """
    for key, domain in space.items():
        for setting in sorted({name for value in domain.grid() for name in settings_of(space, {key: value})}):
            if setting not in STAGE_KEYS and not setting.startswith(WEIGHT):
                known = ", ".join([*STAGE_KEYS, f"{WEIGHT}…"])
                raise UsageError(
                    f"a population cannot change {setting} while it trains: search {known}, or another kind"
                )
        if domain.when:
            raise UsageError(f"the space lets {key} count under a condition, which a population cannot: take it away")


def next_generation(
    lineages: Mapping[int, Lineage],
    scores: Mapping[int, float],
    space: Mapping[str, Domain],
    *,
    from_epoch: int,
    exploit_share: float,
    seed: int,
) -> dict[int, tuple[int, Lineage]]:
    """Say for every member whose state it goes on from, and with which lineage.

    Args:
        lineages: of the members so far.
        scores: at the end of the generation; a member without one has come to nothing.
        space: what may be changed.
        from_epoch: CAP epochs that are complete.
        exploit_share: of the members that take over another's state.
        seed: of what is drawn.
    """
    order = sorted(lineages, key=lambda member: (-scores.get(member, -math.inf), member))
    places = min(math.ceil(exploit_share * len(order)), len(order) // 2)
    lost = {member for member in order if member not in scores}
    best = [member for member in order[: max(1, places)] if member not in lost]
    replaced = (set(order[len(order) - places :]) if places else set()) | lost
    chosen: dict[int, tuple[int, Lineage]] = {}
    for member in lineages:
        generator = np.random.default_rng([seed, from_epoch, member])
        if member not in replaced or not best:
            chosen[member] = (member, lineages[member])
            continue
        source = best[int(generator.integers(len(best)))]
        values = perturb(lineages[source].values, space, generator)
        chosen[member] = (source, lineages[source].changed(space, values, from_epoch))
    return chosen


def perturb(values: Values, space: Mapping[str, Domain], generator: np.random.Generator) -> Values:
    """Change every value a little, or draw it anew, in the order of the space; all of it from the generator."""
    return {key: _perturb_one(values[key], domain, generator) for key, domain in space.items()}


def _perturb_one(value: Any, domain: Domain, generator: np.random.Generator) -> Any:
    is_redrawn = generator.random() < REDRAW
    if domain.options:
        options = list(domain.options)
        if is_redrawn:
            return options[int(generator.integers(len(options)))]
        place = options.index(value) + (1 if generator.random() < 0.5 else -1)
        return options[min(max(place, 0), len(options) - 1)]
    low, high = domain.integers or domain.log_uniform or domain.uniform or (0.0, 0.0)
    if is_redrawn:
        drawn = float(generator.random())
        changed = low * (high / low) ** drawn if domain.is_log else low + (high - low) * drawn
    else:
        changed = value * FACTORS[int(generator.integers(2))]
    if domain.integers:
        changed = round(changed) if round(changed) != value else value + math.copysign(1, changed - value)
        return int(min(max(changed, low), high))
    return float(min(max(changed, low), high))
