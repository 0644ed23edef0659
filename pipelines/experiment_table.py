"""The rows and seeds of an experiment: which outcomes there are, and how a missing one is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.colour_baselines import colour_baselines
from pipelines.console import stderr
from pipelines.evaluate import embed_test, evaluate
from pipelines.experiment_file import ExperimentFile, Row
from pipelines.keys import training_key
from pipelines.outcomes import Curves, Outcome, find_outcome, keep_outcome, outcome_folder
from pipelines.people_data import PeopleData
from pipelines.places import Places
from pipelines.tracked import TrackedRun, tracked_run
from pipelines.train import preflight, train_once
from rlq_ray.config.load import fingerprint, to_dict
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.data import read_manifest
from rlq_ray.distributed.driver import plan_workers
from rlq_ray.distributed.runs import RunEntry
from rlq_ray.errors import TrackingError, UsageError
from rlq_ray.evaluate import Evaluation
from rlq_ray.people.colour_histograms import COLOUR_BASELINES
from rlq_ray.storage import locate
from rlq_ray.tracking import describe_environment, flatten_environment
from rlq_ray.train.checkpoint import state_hash

KEPT_CURVES = ("validation", "test_curve", "diagnostics")
"""Metrics of a training that are kept at every evaluation: the first part of their names, and …"""
KEPT_SCORES = ("mAP", "top1")
"""… of scores, the last."""
TEACHER = "teacher alone"
"""The baseline that never saw the target set."""


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

    @property
    def name(self) -> str:
        """Of the report: that of the experiment, and what the overrides make of it."""
        return "-".join([self.file.name, *([fingerprint(self.overrides)[:8]] if self.overrides else [])])


class OutcomeTable:
    """Outcomes by row and seed.

    Args:
        run: the call.
        sources: overrides that name data sets and teacher.
    """

    def __init__(self, run: ExperimentRun, sources: Sequence[str]) -> None:
        self._run = run
        self._sources = sources
        self._found: dict[tuple[str, int], Outcome] = {}
        self.baselines: dict[str, Outcome] = {}

    def look_up(self) -> None:
        """Refuse what cannot be trained or compared before anything is, and find what was trained before.

        Raises:
            UsageError, DataError, CheckpointError: a setting, or what it names, cannot be used.
        """
        first = self.shared_config()
        if not first.evaluate.bootstrap_samples:
            raise UsageError("evaluate.bootstrap_samples is 0: an experiment states intervals, so give it 1000")
        for row in self._run.file.rows:
            config = self._config(row, self._run.seeds[0])
            _refuse_other_measure(row, config, first)
            preflight(config)
            plan_workers(config.workers)
            for seed in dict.fromkeys((*self._run.file.seeds, *self._run.seeds)):
                folder = outcome_folder(self._run.places.store, row.key, seed, self._key(row, seed))
                if found := find_outcome(folder):
                    self._found[row.key, seed] = found

    def missing(self) -> Iterator[tuple[Row, int]]:
        """List what this call has to train, all rows with one seed before the next."""
        for seed in self._run.seeds:
            for row in self._run.file.rows:
                if row.key in self._run.rows and (row.key, seed) not in self._found:
                    yield row, seed

    def outcomes(self) -> dict[str, list[Outcome]]:
        """Give the outcomes that there are: rows in the order of the file, each by seed."""
        ordered = sorted(self._found.items(), key=lambda item: item[0])
        by_row = {row.key: [own for (key, _), own in ordered if key == row.key] for row in self._run.file.rows}
        return {key: own for key, own in by_row.items() if own}

    def train(self, row: Row, seed: int, parent: TrackedRun) -> None:
        """Train, measure on the test identities, and keep the outcome.

        Raises:
            TrainingError: the training failed.
            TrackingError: what it tracked is not whole.
        """
        config, places = self._config(row, seed), self._run.places
        key = self._key(row, seed)
        entry = train_once(config, places, experiment=self._run.experiment, parent_run_id=parent.run_id)
        assert entry.checkpoint is not None
        assert entry.epoch is not None
        features = embed_test({row.key: entry.checkpoint}, config.data.target, config, self._run.file.qualities)
        outcome = Outcome(
            row=row.key,
            seed=seed,
            key=key,
            epoch=entry.epoch,
            hardware=_hardware(config),
            commit=_commit(),
            curves=_curves(parent, entry),
            evaluation=evaluate(features[row.key], config),
        )
        keep_outcome(outcome_folder(places.store, row.key, seed, key), outcome)
        self._found[row.key, seed] = outcome
        if outcome.curves:
            with tracked_run(
                places.tracking_uri, self._run.experiment, entry.name, run_id=entry.mlflow_run_id
            ) as tracked:
                tracked.tracker.log_metrics(outcome.evaluation.flat("test"), step=entry.epoch)

    def measure_colours(self, people: PeopleData) -> None:
        """Measure what colours alone tell of the same test images, unless that was done before."""
        config = self.shared_config()
        self._measure(
            tuple(COLOUR_BASELINES),
            self._measurement_key([config.data.canvas_height, config.data.canvas_width]),
            lambda: colour_baselines(people.shards("target"), config, people.preset, seed=people.seed),
        )

    def measure_teacher(self, teacher: str) -> None:
        """Measure the teacher itself, which knows the external set alone, unless that was done before."""

        def measure() -> dict[str, Evaluation]:
            config = self.shared_config()
            features = embed_test({TEACHER: teacher}, config.data.target, config, self._run.file.qualities)
            return {TEACHER: evaluate(features[TEACHER], config)}

        self._measure((TEACHER,), self._measurement_key([state_hash(locate(teacher))]), measure)

    def _measure(self, labels: Sequence[str], key: str, measure: Callable[[], Mapping[str, Evaluation]]) -> None:
        """Find baselines, or measure them all."""
        folders = {label: outcome_folder(self._run.places.store, label, 0, key) for label in labels}
        found = {label: find_outcome(folder) for label, folder in folders.items()}
        if not all(found.values()):
            hardware = _hardware(self.shared_config())
            for label, evaluation in measure().items():
                outcome = Outcome(label, 0, key, 0, hardware, _commit(), {}, evaluation)
                keep_outcome(folders[label], outcome)
                found[label] = outcome
        self.baselines |= {label: outcome for label, outcome in found.items() if outcome}

    def _measurement_key(self, others: Sequence[object]) -> str:
        """Name all that a measurement of the test images depends on."""
        config = self.shared_config()
        images = read_manifest(locate(config.data.target)).content_hash
        settings = [to_dict(section) for section in (config.degrade, config.evaluate)]
        return fingerprint([images, settings, others])[:12]

    def shared_config(self) -> ExperimentConfig:
        """Give what all rows share: data, degradation of the queries and evaluation, in the experiment's qualities."""
        return self._measured(self._config(self._run.file.rows[0], self._run.seeds[0]))

    def _measured(self, config: ExperimentConfig) -> ExperimentConfig:
        """Put the qualities in which the test queries are measured into a configuration."""
        evaluate = config.evaluate.model_copy(update={"qualities": self._run.file.qualities})
        return config.model_copy(update={"evaluate": evaluate})

    def _config(self, row: Row, seed: int) -> ExperimentConfig:
        return self._run.file.config(row, [*self._sources, *self._run.overrides, f"seed={seed}"])

    def _key(self, row: Row, seed: int) -> str:
        return training_key(self._measured(self._config(row, seed)))


def _refuse_other_measure(row: Row, config: ExperimentConfig, first: ExperimentConfig) -> None:
    """Hold a row to the images, the queries' degradation and the evaluation of the first one.

    Raises:
        UsageError: it has others.
    """
    for section in ("data", "evaluate", "degrade"):
        ours, theirs = (to_dict(getattr(own, section)) for own in (config, first))
        for key in ours:
            if ours[key] != theirs[key] and key not in ("qualities", "target_probability", "distil_degraded"):
                raise UsageError(
                    f"the row '{row.key}' has {section}.{key}={ours[key]}, the first one {theirs[key]}: rows that are "
                    "compared are measured alike, so set it for all rows"
                )


def _curves(parent: TrackedRun, entry: RunEntry) -> Curves:
    """Read a training's evaluations back from where they are tracked; none if another store holds them.

    Raises:
        TrackingError: the chosen epoch is not among them.
    """
    known = {run.run_id for run in parent.store.find_runs(parent.experiment_id, entry.name)}
    if entry.mlflow_run_id is None or entry.mlflow_run_id not in known:
        stderr.print(f"  {entry.name} is tracked elsewhere: its best epoch on test and its diagnostics are left out")
        return {}
    curves: Curves = {}
    for name in parent.store.run(entry.mlflow_run_id).metrics:
        first, last = name.split("/")[0], name.split("/")[-1]
        if first in KEPT_CURVES and (first == "diagnostics" or last in KEPT_SCORES):
            latest = {point.step: point.value for point in parent.store.metric_history(entry.mlflow_run_id, name)}
            curves[name] = sorted(latest.items())
    for name, curve in curves.items():
        if name.startswith("validation/") and entry.epoch not in dict(curve):
            raise TrackingError(
                f"{name} of the run {entry.name} lacks the chosen epoch {entry.epoch}: delete that run, and call again"
            )
    return curves


def _hardware(config: ExperimentConfig) -> str:
    workers = config.workers
    if plan_workers(workers).use_gpu:
        return f"{workers.count} GPU"
    cores = workers.count * workers.cpus
    return f"{cores:g} CPU core{'' if cores == 1 else 's'}"


def _commit() -> str:
    return flatten_environment(describe_environment()).get("git.commit", "unknown")
