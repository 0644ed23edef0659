"""What became of a sweep's configurations so far, as values, and their place in the store.

One file for every configuration, written whole whenever something happens to it: what is not in them never happened, so
a driver that dies at any moment loses nothing but its own process.
"""

from __future__ import annotations

import math
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rlq_ray.distributed.runs import RunState
from rlq_ray.storage import Location, exists, list_files, read_json, write_json
from tuning.seeds import SeedModel
from tuning.space import Values

PULSE_S = 60.0
"""Seconds between the signs that a driver gives; after three without one it is taken for dead."""


@dataclass
class Part:
    """The part of a training that a member of a population has between two comparisons.

    `root`, `stages` and `values` are its lineage, see `tuning.population`; `parent` is the run whose state at
    `from_epoch` it goes on from.
    """

    root: Values
    stages: list[dict[str, Any]]
    values: Values
    from_epoch: int
    until_epoch: int
    parent: str | None = None


@dataclass
class Training:
    """A configuration trained with one seed.

    `curve` holds every evaluation in order: CAP epoch, the score that chooses the checkpoint, then the objectives.
    `conflict` is the mean cosine between the gradients of CAP and TAD steps, where it was measured. `is_to_stop` says
    that early stopping has decided against it, which counts even if the driver dies before it is carried out.
    """

    seed: int
    run: str
    run_id: str | None = None
    state: RunState = "running"
    reason: str = ""
    curve: list[tuple[float, ...]] = field(default_factory=list)
    seconds: float = 0.0
    images: int = 0
    conflict: float | None = None
    is_to_stop: bool = False
    part: Part | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come, but for a failed one when the sweep is resumed."""
        return self.state != "running"

    @property
    def chosen(self) -> tuple[float, ...] | None:
        """The evaluation of the checkpoint that the validation identities chose: epoch, then the objectives.

        Of a part it is the last one, whose state another part may go on from.
        """
        if not self.curve:
            return None
        best = self.curve[-1] if self.part else max(self.curve, key=lambda point: (point[1], -point[0]))
        epoch, _, *objectives = best
        return (epoch, *objectives)

    def first_objective(self) -> list[tuple[int, float]]:
        """Give the first objective by CAP epoch."""
        return [(int(point[0]), point[2]) for point in self.curve]


@dataclass
class Trial:
    """A configuration: what it changes, and its trainings by the place of their seed in the sweep's order."""

    number: int
    values: Values
    run_id: str | None = None
    trainings: list[Training] = field(default_factory=list)

    def finished(self) -> list[Training]:
        """List the trainings that came to their end."""
        return [training for training in self.trainings if training.state == "finished"]

    def scores(self, objective: int = 0) -> dict[int, float]:
        """Give an objective of every finished training, by seed."""
        return {training.seed: training.chosen[1 + objective] for training in self.finished() if training.chosen}

    def means(self, seeds: int) -> list[float] | None:
        """Give the mean of every objective over the first finished trainings; None without one."""
        chosen = [training.chosen[1:] for training in self.finished()[:seeds] if training.chosen]
        return [math.fsum(scores) / len(scores) for scores in zip(*chosen, strict=True)] or None

    @property
    def state(self) -> str:
        """How it stands: `running`, else `finished` if one of its trainings did, else how the last one ended."""
        if any(not training.has_ended for training in self.trainings):
            return "running"
        return self.trainings[-1].state if not self.finished() else "finished"


class Ledger:
    """The files of a sweep in the store."""

    def __init__(self, store: Location, sweep: str) -> None:
        self.folder = store / "sweeps" / sweep

    def keep(self, trial: Trial) -> None:
        """Write a configuration's file."""
        write_json(self.folder / "trials" / f"{trial.number:05d}.json", asdict(trial))

    def read(self) -> list[Trial]:
        """Read all configurations, by number."""
        return [_trial(read_json(file)) for file in list_files(self.folder / "trials", ".json")]

    def keep_card(self, card: Mapping[str, Any]) -> None:
        """Write what the sweep was begun with."""
        write_json(self.folder / "sweep.json", dict(card))

    def read_card(self) -> dict[str, Any] | None:
        """Read what the sweep was begun with; None if there is none."""
        file = self.folder / "sweep.json"
        return dict(read_json(file)) if exists(file) else None

    def keep_spent(self, seconds: float) -> None:
        """Write for how long all drivers together have run."""
        write_json(self.folder / "spent.json", {"seconds": seconds})

    def keep_pulse(self) -> None:
        """Give a sign that a driver on this machine is at work."""
        write_json(self.folder / "pulse.json", {"host": socket.gethostname(), "at": time.time()})

    def beats_elsewhere(self) -> bool:
        """Tell whether a driver on another machine gave a sign a short time ago."""
        file = self.folder / "pulse.json"
        if not exists(file):
            return False
        pulse = read_json(file)
        return pulse["host"] != socket.gethostname() and time.time() - float(pulse["at"]) < 3 * PULSE_S

    def spent(self) -> float:
        """Read for how long all drivers together have run."""
        file = self.folder / "spent.json"
        return float(read_json(file)["seconds"]) if exists(file) else 0.0


def list_sweeps(store: Location) -> list[str]:
    """List the names of all sweeps, sorted."""
    folder = store / "sweeps"
    files = list_files(folder, "/sweep.json")
    return [file.uri.removeprefix(f"{folder.uri}/").removesuffix("/sweep.json") for file in files]


def _trial(content: dict[str, Any]) -> Trial:
    trainings = [
        Training(
            **{
                **training,
                "curve": [tuple(point) for point in training["curve"]],
                "part": Part(**training["part"]) if training["part"] else None,
            }
        )
        for training in content["trainings"]
    ]
    return Trial(**{**content, "trainings": trainings})


def run_name(sweep: str, number: int, seed: int) -> str:
    """Name the run of a configuration with a seed, without clock or chance."""
    return f"{sweep}-{number:05d}-seed-{seed}"


def part_name(sweep: str, member: int, from_epoch: int) -> str:
    """Name the run of a member's part."""
    return f"{sweep}-{member:05d}-from-{from_epoch:05d}"


def count_states(trials: Sequence[Trial]) -> dict[str, int]:
    """Count the trainings by how they stand."""
    return dict(Counter(training.state for trial in trials for training in trial.trainings))


def fit_trials(trials: Sequence[Trial], objective: int = 0) -> SeedModel:
    """Estimate what the configurations that finished a training score over all seeds."""
    return SeedModel.fit({trial.number: trial.scores(objective) for trial in trials})
