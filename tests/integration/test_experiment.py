"""An experiment in its smallest size, end to end: interrupted after some rows, it goes on and trains nothing twice."""

from __future__ import annotations

import fcntl
import json
from dataclasses import replace

import pytest

from pipelines.experiment import report_folder, run_experiment
from pipelines.experiment_file import read_experiment_file
from pipelines.experiment_table import ExperimentRun
from pipelines.places import Places
from rlq_ray.errors import UsageError
from rlq_ray.storage import locate
from rlq_ray.tracking.mlflow_tracker import MlflowStore


@pytest.fixture(scope="module")
def run(ray_cluster, s3_store, mlflow_server, tmp_path_factory: pytest.TempPathFactory) -> ExperimentRun:
    places = Places(store=locate(f"{s3_store.uri}/experiment"), tracking_uri=mlflow_server.uri, ray_address=None)
    file = read_experiment_file("tiny")
    file = file.model_copy(update={"seeds": (0,)})
    rows = tuple(row.key for row in file.rows)
    return ExperimentRun(file, places, tmp_path_factory.mktemp("experiment"), rows, file.seeds)


def trainings(run: ExperimentRun) -> dict[str, str]:
    """Give the MLflow runs of the trainings by id, all of which have ended well."""
    store = MlflowStore(run.places.tracking_uri)
    found = store.find_runs(store.ensure_experiment(run.experiment))
    assert {one.status for one in found} == {"FINISHED"}
    return {one.run_id: one.name for one in found if one.tags.get("rlq.kind") == "training"}


@pytest.mark.slow
def test_goes_on_where_it_was_and_reports_the_same(run: ExperimentRun) -> None:
    first = run_experiment(replace(run, rows=("base",)))
    assert [(row["name"], row["seeds"]) for row in first["rows"]] == [("base", [0])]
    before = trainings(run)
    assert len(before) == 2, "the teacher and one row"
    whole = run_experiment(run)
    assert [(row["name"], row["seeds"]) for row in whole["rows"]] == [("base", [0]), ("rlq", [0])]
    after = trainings(run)
    assert len(after) == 3
    assert before.items() <= after.items()
    again = run_experiment(run)
    assert trainings(run) == after
    assert again == whole
    base = [report["rows"][0]["scores"]["lq"]["cc"]["mAP"]["values"][0] for report in (first, whole)]
    assert base[0] == base[1]

    folder = run.out / "experiments" / "tiny"
    assert json.loads((folder / "report.json").read_text()) == whole
    assert (folder / "figure.png").stat().st_size > 10_000
    assert "| RLQ |" in (folder / "tables.md").read_text()
    row = whole["rows"][1]
    assert {"hq", "lq", "motion-severe"} == set(row["scores"])
    for quality in ("hq", "lq"):
        best, chosen = row["best_on_test"][quality], row["scores"][quality]["cc"]
        assert all(b >= c - 1e-6 for b, c in zip(best["mAP"]["values"], chosen["mAP"]["values"], strict=True))
    assert {"gradient_cosine", "silhouette_quality", "lq_neighbour_share"} <= set(row["diagnostics"])
    assert {own["label"] for own in whole["baselines"]} == {
        "person colours",
        "skin and hair colours",
        "teacher alone",
    }


@pytest.mark.slow
def test_other_settings_and_seeds_are_trained_anew(run: ExperimentRun) -> None:
    run_experiment(replace(run, rows=("base",)))
    before = trainings(run)
    report = run_experiment(replace(run, rows=("base",), seeds=(1, 2)))
    assert next((row["name"], row["seeds"]) for row in report["rows"]) == ("base", [0, 1, 2])
    assert len(trainings(run)) == len(before) + 2, "the teacher is shared"
    before = trainings(run)
    report = run_experiment(replace(run, rows=("base",), overrides=("loss.triplet_margin=0.5",)))
    assert [(row["name"], row["seeds"]) for row in report["rows"]] == [("base", [0])]
    assert len(trainings(run)) == len(before) + 2, "a teacher too, which shares the setting"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seed=5", "sets seed itself, so 'seed=5' is refused: use --seed"),
        ("teacher=elsewhere", "sets teacher itself"),
        ("data.target=elsewhere", "sets data.target itself, .* use the preset"),
        ("evaluate.bootstrap_samples=0", "evaluate.bootstrap_samples is 0"),
    ],
)
def test_refuses_overrides_of_what_it_sets_itself(run: ExperimentRun, override: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        run_experiment(replace(run, overrides=(override,)))


def test_a_second_call_at_the_same_time_is_refused(run: ExperimentRun) -> None:
    report_folder(run).mkdir(parents=True, exist_ok=True)
    with (report_folder(run) / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another call of the experiment 'tiny' is at work"):
            run_experiment(run)


def test_refuses_rows_that_are_measured_otherwise_than_the_first(run: ExperimentRun) -> None:
    row = run.file.rows[1].model_copy(update={"settings": {"evaluate": {"degrade_seed": 99}}})
    file = run.file.model_copy(update={"rows": (run.file.rows[0], row)})
    with pytest.raises(UsageError, match=r"the row 'rlq' has evaluate\.degrade_seed=99, the first one 7"):
        run_experiment(replace(run, file=file))


def test_names_missing_data_before_anything_is_trained(run: ExperimentRun) -> None:
    bare = replace(run, file=run.file.model_copy(update={"preset": None}))
    with pytest.raises(UsageError, match=r"the setting 'data\.target' is missing"):
        run_experiment(bare)
    with pytest.raises(UsageError, match=r"'tiny' has no external data: give data\.external=URI"):
        run_experiment(replace(bare, overrides=("data.target=somewhere",)))
