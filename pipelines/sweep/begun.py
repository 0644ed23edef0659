"""A sweep that was begun: found by its name, and reported from its files alone, without Ray."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from pipelines.at_work import is_at_work
from pipelines.places import Places
from pipelines.sweep.file import SweepFile
from pipelines.sweep.report import SweepReport, build_sweep_report
from rlq_ray.errors import UsageError
from tuning.record import Ledger


@dataclass(frozen=True)
class Sweep:
    """A sweep that was begun.

    Attributes:
        name: in the store and in MLflow.
        file: what it is.
        overrides: settings for all trainings, with the last word.
        out: folder for images and the report.
        places: of shards, runs and tracking.
    """

    name: str
    file: SweepFile
    overrides: tuple[str, ...]
    out: Path
    places: Places

    @property
    def ledger(self) -> Ledger:
        """Its files in the store."""
        return Ledger(self.places.store, self.name)

    @property
    def experiment(self) -> str:
        """MLflow experiment of its runs."""
        return f"rlq-{self.name}"

    @property
    def folder(self) -> Path:
        """Where its report lies."""
        return self.out / "sweeps" / self.name

    @property
    def is_at_work(self) -> bool:
        """Whether a call is at work on it, here or, by the last sign that it gave in the store, on another machine."""
        return is_at_work(self.folder) or self.ledger.beats_elsewhere()


def find_sweep(name: str, places: Places) -> Sweep:
    """Find a sweep that was begun, as it was begun.

    Raises:
        UsageError: there is none of this name.
    """
    card = Ledger(places.store, name).read_card()
    if card is None:
        raise UsageError(f"there is no sweep '{name}' in {places.store}: check the name and --store")
    file = SweepFile.model_validate(tomllib.loads(card["file"]))
    return Sweep(name, file, tuple(card["overrides"]), Path(card["out"]), places)


def report_sweep(sweep: Sweep) -> SweepReport:
    """Report a sweep from its files, also while it runs."""
    card = sweep.ledger.read_card() or {}
    state = "finished" if card.get("is_done") else "running" if sweep.is_at_work else "interrupted"
    return build_sweep_report(sweep.name, sweep.file, sweep.ledger.read(), state=state, overrides=sweep.overrides)
