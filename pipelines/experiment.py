"""All rows of an experiment with all seeds, one training after the other; a second call goes on."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path

from cluster.ray_local import session
from pipelines.console import stage, stderr
from pipelines.experiment_report import Report, build_report
from pipelines.experiment_table import ExperimentRun, OutcomeTable
from pipelines.experiment_view import as_markdown, experiment_figure
from pipelines.people_data import PeopleData
from pipelines.teacher import find_or_train_teacher
from pipelines.tracked import TrackedRun, earlier_run, tracked_run
from rlq_ray.errors import UsageError

OWN = {"seed": "--seed", "teacher": "the teacher and teacher_seed of the file", "start_from": "the rows of the file"}
"""Settings that the experiment sets itself, and where they are given instead."""


def run_experiment(run: ExperimentRun) -> Report:
    """Train what is missing, seed by seed, and write the report after every training.

    Raises:
        UsageError, DataError, CheckpointError: a setting, or what it names, cannot be used; or another call is at work.
        TrainingError: a training failed; a second call goes on.
    """
    _refuse_own(run)
    with _alone(run), session(run.places.ray_address):
        target, external, people = _data(run)
        with stage("teacher, trained once on the external set"):
            teacher_config = run.file.teacher_config(external, run.overrides)
            teacher = find_or_train_teacher(teacher_config, run.places, experiment=run.experiment)
        sources = [f"data.target={target}", f"data.external={external}", f"teacher={teacher}"]
        table = OutcomeTable(run, sources)
        table.look_up()
        with stage("baselines: the teacher, and colours where people are rendered"):
            table.measure_teacher(teacher)
            if people:
                table.measure_colours(people)
        with tracked_run(
            run.places.tracking_uri,
            run.experiment,
            run.name,
            run_id=earlier_run(run.places.tracking_uri, run.experiment, run.name),
            tags={"rlq.kind": "experiment"},
        ) as parent:
            missing = list(table.missing())
            for number, (row, seed) in enumerate(missing, 1):
                with stage(f"{number} of {len(missing)} · {row.label}, seed {seed}"):
                    table.train(row, seed, parent)
                _write(run, table, parent)
            return _write(run, table, parent)


@contextlib.contextmanager
def _alone(run: ExperimentRun) -> Iterator[None]:
    """Keep other calls of this experiment from this folder; the lock ends with the process, however that ends.

    Raises:
        UsageError: another call is at work.
    """
    folder = report_folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another call of the experiment '{run.name}' is at work in {run.out}: wait for its end, or stop it"
            ) from None
        yield


def _refuse_own(run: ExperimentRun) -> None:
    """Refuse overrides of what the experiment sets itself.

    Raises:
        UsageError: there is one.
    """
    own = dict(OWN)
    if run.file.preset is not None:
        own |= {"data.target": "the preset of the file", "data.external": "the preset of the file"}
    for override in run.overrides:
        key = override.partition("=")[0].strip()
        if key in own:
            raise UsageError(f"an experiment sets {key} itself, so '{override}' is refused: use {own[key]}")


def _data(run: ExperimentRun) -> tuple[str, str, PeopleData | None]:
    """Give the URIs of target and external set, and the rendered people that they are, if they are.

    Raises:
        UsageError: there are neither rendered people nor the names of data sets.
    """
    file = run.file
    if file.preset is None:
        data = file.config(file.rows[0], [*run.overrides, "teacher=none"]).data
        if data.external is None:
            raise UsageError(f"the experiment '{file.name}' has no external data: give data.external=URI")
        return data.target, data.external, None
    people = PeopleData(run.out, run.places.store, file.preset, file.data_seed, file.pose_clusters)
    with stage(f"render people: {file.preset}, target and external"):
        people.render()
    with stage("ingest images, genders, masks and keypoints into Arrow shards"):
        people.ingest()
    return people.shards("target"), people.shards("external"), people


def report_folder(run: ExperimentRun) -> Path:
    """Say where the report lies."""
    return run.out / "experiments" / run.name


def _write(run: ExperimentRun, table: OutcomeTable, parent: TrackedRun) -> Report:
    """Write the report, its tables and its figure, into the folder and beside the parent run."""
    report = build_report(run.file, table.outcomes(), table.baselines, table.shared_config())
    report["overrides"] = list(run.overrides)
    folder = report_folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (folder / "tables.md").write_text(as_markdown(report))
    experiment_figure(report).savefig(folder / "figure.png")
    for name in ("report.json", "tables.md", "figure.png"):
        parent.tracker.log_file(folder / name, "report")
    stderr.print(f"  report: {folder}", style="dim")
    return report
