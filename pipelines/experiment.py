"""All rows of an experiment with all seeds, one training after the other; a second call goes on."""

from __future__ import annotations

import json

from cluster.ray_local import session
from pipelines.console import stage, stderr
from pipelines.experiment_report import Report, build_report
from pipelines.experiment_table import ExperimentRun, OutcomeTable
from pipelines.experiment_view import as_markdown, experiment_figure
from pipelines.keys import teacher_key
from pipelines.people_data import PeopleData
from pipelines.teacher import find_or_train_teacher
from pipelines.tracked import TrackedRun, tracked_run
from rlq_ray.errors import UsageError
from rlq_ray.tracking.mlflow_tracker import MlflowStore


def run_experiment(run: ExperimentRun) -> Report:
    """Train what is missing, seed by seed, and write the report after every training.

    Raises:
        UsageError, DataError, CheckpointError: a setting, or what it names, cannot be used.
        TrainingError: a training failed; a second call goes on.
    """
    with session(run.places.ray_address):
        target, external, people = _data(run)
        with stage("teacher, trained once on the external set"):
            teacher_config = run.file.teacher_config(external, run.overrides)
            teacher = find_or_train_teacher(teacher_config, run.places, experiment=run.experiment)
        sources = [f"data.target={target}", f"data.external={external}", f"teacher={teacher}"]
        table = OutcomeTable(run, sources, teacher_key(teacher_config))
        table.look_up()
        if people:
            with stage("colour histograms of the test images, which a network has to beat"):
                table.measure_colours(people)
        with tracked_run(
            run.places.tracking_uri,
            run.experiment,
            run.file.name,
            run_id=_earlier_run(run),
            tags={"rlq.kind": "experiment"},
        ) as parent:
            missing = list(table.missing())
            for number, (row, seed) in enumerate(missing, 1):
                with stage(f"{number} of {len(missing)} · {row.label}, seed {seed}"):
                    table.train(row, seed, parent)
                _write(run, table, parent)
            return _write(run, table, parent)


def _data(run: ExperimentRun) -> tuple[str, str, PeopleData | None]:
    """Give the URIs of target and external set, and the rendered people that they are, if they are."""
    file = run.file
    if file.preset is not None:
        people = PeopleData(run.out, run.places.store, file.preset, file.data_seed, file.pose_clusters)
        if not people.is_whole():
            with stage(f"render people: {file.preset}, target and external"):
                people.render()
            with stage("ingest images, genders, masks and keypoints into Arrow shards"):
                people.ingest()
        return people.shards("target"), people.shards("external"), people
    named = dict(override.split("=", 1) for override in run.overrides if "=" in override)
    for key in ("data.target", "data.external"):
        if key not in named:
            raise UsageError(f"the experiment '{file.name}' brings no data: give {key}=URI")
    return named["data.target"], named["data.external"], None


def _write(run: ExperimentRun, table: OutcomeTable, parent: TrackedRun) -> Report:
    """Write the report, its tables and its figure, into the folder and beside the parent run."""
    report = build_report(run.file, table.outcomes(), table.colours, table.shared_config())
    folder = run.out / "experiments" / run.file.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (folder / "tables.md").write_text(as_markdown(report))
    experiment_figure(report).savefig(folder / "figure.png")
    for name in ("report.json", "tables.md", "figure.png"):
        parent.tracker.log_file(folder / name, "report")
    stderr.print(f"  report: {folder}", style="dim")
    return report


def _earlier_run(run: ExperimentRun) -> str | None:
    store = MlflowStore(run.places.tracking_uri)
    found = store.find_runs(store.ensure_experiment(run.experiment), run.file.name)
    return found[0].run_id if found else None
