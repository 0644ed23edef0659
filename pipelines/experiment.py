"""All rows of an experiment with all seeds, one training after the other; a second call goes on."""

from __future__ import annotations

import json
from pathlib import Path

from cluster.ray_local import session
from pipelines.at_work import alone
from pipelines.console import stage, stderr
from pipelines.experiment_report import Report, build_report
from pipelines.experiment_table import ExperimentRun, OutcomeTable
from pipelines.experiment_view import as_markdown, experiment_figure
from pipelines.study import make_sources, refuse_own
from pipelines.tracked import TrackedRun, earlier_run, tracked_run

OWN = {"seed": "--seed", "start_from": "the rows of the file"}
"""Settings that the experiment sets itself, and where they are given instead."""


def run_experiment(run: ExperimentRun) -> Report:
    """Train what is missing, seed by seed, and write the report after every training.

    Raises:
        UsageError, DataError, CheckpointError: a setting, or what it names, cannot be used; or another call is at work.
        TrainingError: a training failed; a second call goes on.
    """
    refuse_own(run.file, run.overrides, OWN)
    with alone(report_folder(run), f"the experiment '{run.name}'"), session(run.places.ray_address):
        sources = make_sources(
            run.file,
            run.places,
            out=run.out,
            overrides=run.overrides,
            recipe=run.file.rows[0].recipe,
            experiment=run.experiment,
        )
        table = OutcomeTable(run, sources.overrides)
        table.look_up()
        with stage("baselines: the teacher, and colours where people are rendered"):
            table.measure_teacher(sources.teacher)
            if sources.people:
                table.measure_colours(sources.people)
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
