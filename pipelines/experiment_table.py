"""The rows and seeds of an experiment: which outcomes there are, and how a missing one is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.colour_baselines import colour_baselines
from pipelines.evaluate import embed_test, evaluate
from pipelines.experiment_file import ExperimentFile, Row
from pipelines.keys import training_key
from pipelines.outcomes import Curves, Outcome, find_outcome, keep_outcome, outcome_folder
from pipelines.people_data import PeopleData
from pipelines.places import Places
from pipelines.tracked import TrackedRun
from pipelines.train import preflight, train_once
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.distributed.driver import plan_workers
from rlq_ray.distributed.runs import RunEntry
from rlq_ray.people.colour_histograms import COLOUR_BASELINES
from rlq_ray.storage import Location
from rlq_ray.tracking.mlflow_tracker import MlflowStore

KEPT_CURVES = ("validation", "test_curve", "diagnostics")
"""Metrics of a training that are kept at every evaluation: the first part of their names, and …"""
KEPT_SCORES = ("mAP", "top1")
"""… of scores, the last."""


@dataclass(frozen=True)
class ExperimentRun:
    """One call: which rows and seeds, and where everything lies.

    Attributes:
        file: the experiment.
        places: of shards, runs and tracking.
        out: folder for images and the report.
        rows: names of those to be trained now; others are reported if they were before.
        seeds: to be trained now.
        overrides: `section.key=value` for all rows, with the last word.
    """

    file: ExperimentFile
    places: Places
    out: Path
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    overrides: tuple[str, ...] = ()

    @property
    def experiment(self) -> str:
        """MLflow experiment of the runs."""
        return f"rlq-{self.file.name}"


class OutcomeTable:
    """Outcomes by row and seed.

    Args:
        run: the call.
        sources: overrides that name data sets and teacher.
        teacher: the teacher's key.
    """

    def __init__(self, run: ExperimentRun, sources: Sequence[str], teacher: str) -> None:
        self._run = run
        self._sources = sources
        self._teacher = teacher
        self._found: dict[tuple[str, int], Outcome] = {}
        self.colours: dict[str, Outcome] = {}

    def look_up(self) -> None:
        """Refuse what cannot be trained before anything is, and find what was trained before.

        Raises:
            UsageError, DataError, CheckpointError: a setting, or what it names, cannot be used.
        """
        for row in self._run.file.rows:
            config = self._config(row, self._run.seeds[0])
            preflight(config)
            plan_workers(config.workers)
            for seed in dict.fromkeys((*self._run.file.seeds, *self._run.seeds)):
                found = find_outcome(self._folder(row.key, seed), self._key(row, seed))
                if found:
                    self._found[row.key, seed] = found

    def missing(self) -> Iterator[tuple[Row, int]]:
        """List what this call has to train, all rows with one seed before the next."""
        for seed in self._run.seeds:
            for row in self._run.file.rows:
                if row.key in self._run.rows and (row.key, seed) not in self._found:
                    yield row, seed

    def outcomes(self) -> dict[str, list[Outcome]]:
        """Give the outcomes that there are: rows in the order of the file, each by seed."""
        by_row: dict[str, list[Outcome]] = {row.key: [] for row in self._run.file.rows}
        for key, _ in sorted(self._found):
            by_row[key] = [outcome for (row, _), outcome in sorted(self._found.items()) if row == key]
        return {key: own for key, own in by_row.items() if own}

    def train(self, row: Row, seed: int, parent: TrackedRun) -> None:
        """Train, measure on the test identities, and keep the outcome.

        Raises:
            TrainingError: the training failed.
        """
        config = self._config(row, seed)
        entry = train_once(config, self._run.places, experiment=self._run.experiment, parent_run_id=parent.run_id)
        assert entry.checkpoint is not None
        assert entry.epoch is not None
        features = embed_test({row.key: entry.checkpoint}, config.data.target, config, self._run.file.qualities)
        outcome = Outcome(
            row=row.key,
            seed=seed,
            key=self._key(row, seed),
            epoch=entry.epoch,
            hardware=_hardware(config),
            curves=_curves(parent.store, entry),
            evaluation=evaluate(features[row.key], config),
        )
        keep_outcome(self._folder(row.key, seed), outcome)
        self._found[row.key, seed] = outcome
        if entry.mlflow_run_id:
            parent.store.attach(entry.mlflow_run_id).log_metrics(outcome.evaluation.flat("test"), step=entry.epoch)

    def measure_colours(self, people: PeopleData) -> None:
        """Measure what colours alone tell of the same test images, unless that was done before."""
        config = self.shared_config()
        key = training_key(config, None)
        found = {name: find_outcome(self._folder(name, 0), key) for name in COLOUR_BASELINES}
        if not all(found.values()):
            measured = colour_baselines(people.shards("target"), config, people.preset, seed=people.seed)
            for name, evaluation in measured.items():
                outcome = Outcome(name, 0, key, 0, "CPU", {}, evaluation)
                keep_outcome(self._folder(name, 0), outcome)
                found[name] = outcome
        self.colours = {name: outcome for name, outcome in found.items() if outcome}

    def shared_config(self) -> ExperimentConfig:
        """Give what all rows share: data, degradation, evaluation, with the experiment's qualities."""
        config = self._config(self._run.file.rows[0], self._run.seeds[0])
        evaluate = config.evaluate.model_copy(update={"qualities": self._run.file.qualities})
        return config.model_copy(update={"evaluate": evaluate})

    def _config(self, row: Row, seed: int) -> ExperimentConfig:
        return self._run.file.config(row, [*self._sources, *self._run.overrides, f"seed={seed}"])

    def _key(self, row: Row, seed: int) -> str:
        return training_key(self._config(row, seed), self._teacher)

    def _folder(self, row: str, seed: int) -> Location:
        return outcome_folder(self._run.places.store, self._run.file.name, row, seed)


def _curves(store: MlflowStore, entry: RunEntry) -> Curves:
    """Read a training's evaluations back from where they are tracked."""
    if entry.mlflow_run_id is None:
        return {}
    curves: Curves = {}
    for name in store.run(entry.mlflow_run_id).metrics:
        first, _, last = name.partition("/")[0], "", name.rpartition("/")[2]
        if first in KEPT_CURVES and (first == "diagnostics" or last in KEPT_SCORES):
            latest = {point.step: point.value for point in store.metric_history(entry.mlflow_run_id, name)}
            curves[name] = sorted(latest.items())
    return curves


def _hardware(config: ExperimentConfig) -> str:
    workers = config.workers
    if plan_workers(workers).use_gpu:
        return f"{workers.count} GPU"
    return f"{workers.count * workers.cpus:g} CPU cores"
