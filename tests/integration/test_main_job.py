"""The main job in its smallest size, end to end: a real Ray cluster, a real MLflow server, data and runs in real S3."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.demo import EXPERIMENT, SIZES, DemoResult, run_demo
from pipelines.places import Places
from pipelines.report import write_report
from rlq_ray.data import DataSet
from rlq_ray.distributed.runs import find_run
from rlq_ray.storage import Location, locate
from rlq_ray.tracking.mlflow_tracker import MlflowStore
from rlq_ray.train.checkpoint import read_network
from tests.integration.figures import wait_for_figures

OVERRIDES = ["evaluate.test_curve=true"]


@pytest.fixture(scope="module")
def places(ray_cluster, s3_store, mlflow_server) -> Places:
    return Places(store=locate(f"{s3_store.uri}/main-job"), tracking_uri=mlflow_server.uri, ray_address=None)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def result(places: Places, out: Path) -> DemoResult:
    return run_demo(out, places, size=SIZES["tiny"], overrides=OVERRIDES)


@pytest.fixture(scope="module")
def store(places: Places, result: DemoResult) -> MlflowStore:
    return MlflowStore(places.tracking_uri)


@pytest.fixture(scope="module")
def children(store: MlflowStore, result: DemoResult) -> dict:
    """The three trainings' runs by the recipe's name."""
    found = store.find_runs(store.ensure_experiment(EXPERIMENT), parent_run_id=result.parent_run_id)
    return {run.name.split("-")[1] if run.name.startswith("tiny") else "teacher": run for run in found}


def test_measures_both_models_in_every_protocol_and_quality(result: DemoResult) -> None:
    assert set(result.evaluations) == {"base", "rlq"}
    for evaluation in result.evaluations.values():
        measured = {(score.quality, score.protocol) for score in evaluation.scores}
        assert measured == {(q, p) for q in ("hq", "lq") for p in ("general", "cc", "sc")}
        for score in evaluation.scores:
            assert score.metrics.queries == 16
            assert 0 < score.metrics.mean_ap <= 1
            assert score.intervals["mAP"].low <= score.metrics.mean_ap <= score.intervals["mAP"].high
    assert len(result.gains) == 2


def test_low_quality_queries_are_other_images(result: DemoResult) -> None:
    evaluation = result.evaluations["base"]
    assert evaluation["hq", "general"].ranking.ap_Q.tolist() != evaluation["lq", "general"].ranking.ap_Q.tolist()


def test_shards_lie_in_s3_and_hold_what_was_rendered(places: Places, result: DemoResult) -> None:
    dataset = DataSet.open(places.store / "shards" / "people-tiny-0-target")
    assert {name: counts.images for name, counts in dataset.manifest.splits.items()} == {
        "train": 32,
        "query": 16,
        "gallery": 16,
    }
    assert dataset.manifest.pose is not None
    assert len(dataset.manifest.pose.centroids) == 5
    assert dataset.manifest.join_rates.gender == dataset.manifest.join_rates.masks == 1


def test_runs_are_registered_with_their_best_checkpoint(places: Places, children: dict) -> None:
    for run in children.values():
        entry = find_run(places.store, run.name)
        assert entry is not None
        assert entry.state == "finished"
        assert entry.mlflow_run_id == run.run_id
        network, card = read_network(Location(entry.checkpoint))
        assert network.has_pose == card.config.model.pose_branch
        assert card.epoch == entry.epoch


def test_one_parent_and_a_child_per_training_are_finished(store: MlflowStore, result: DemoResult, children) -> None:
    assert store.run(result.parent_run_id).status == "FINISHED"
    assert set(children) == {"teacher", "base", "rlq"}
    assert {run.status for run in children.values()} == {"FINISHED"}


def test_every_step_of_every_phase_is_tracked(store: MlflowStore, children: dict) -> None:
    run = children["rlq"].run_id
    for name, steps in (("cap/loss", range(1, 12, 2)), ("tad/loss", range(0, 12, 2)), ("learning_rate", range(12))):
        assert [point.step for point in store.metric_history(run, name)] == list(steps), name
    terms = {"identity", "identity_clothes", "pose", "gender", "triplet", "agreement", "disentangle"}
    assert {f"cap/{term}" for term in terms} <= set(children["rlq"].metrics)
    assert {"tad/feature_hq", "tad/feature_lq", "tad/agreement_lq"} <= set(children["rlq"].metrics)
    assert [point.step for point in store.metric_history(run, "validation/hq/cc/mAP")] == [1, 2]
    assert children["rlq"].metrics["images_per_second"] > 0


def test_the_test_curve_at_the_best_epoch_is_what_the_evaluation_finds(
    store: MlflowStore, places: Places, result: DemoResult, children: dict
) -> None:
    for name, evaluation in result.evaluations.items():
        run = children[name]
        best_epoch = int(run.tags["rlq.best_epoch"])
        for score in evaluation.scores:
            curve = store.metric_history(run.run_id, f"test_curve/{score.quality}/{score.protocol}/mAP")
            assert [point.step for point in curve] == [1, 2]
            assert curve[best_epoch - 1].value == pytest.approx(score.metrics.mean_ap, abs=1e-5)
        best = {metric for metric in run.metrics if metric.startswith("best/")}
        assert "best/validation/hq/cc/mAP" in best
        assert not [metric for metric in best if "test_curve" in metric]


def test_diagnostics_are_tracked(store: MlflowStore, children: dict) -> None:
    both = {"silhouette_quality", "silhouette_identity", "lq_neighbour_share", "lq_neighbour_share_chance"}
    of_two_phases = {"gradient_cosine", "gradient_norm_ratio"}
    for name, wanted, absent in (("rlq", both | of_two_phases, set()), ("base", both, of_two_phases)):
        for metric in wanted:
            history = store.metric_history(children[name].run_id, f"diagnostics/{metric}")
            assert [point.step for point in history] == [1, 2], metric
        assert not {f"diagnostics/{metric}" for metric in absent} & set(children[name].metrics)


def test_what_a_run_was_started_with_is_kept(store: MlflowStore, children: dict, places: Places) -> None:
    run = children["rlq"]
    assert run.params["schedule.tad_steps"] == "1"
    manifest = DataSet.open(places.store / "shards" / "people-tiny-0-external").manifest
    assert run.tags["data.external.hash"] == manifest.content_hash
    assert run.tags["packages.torch"]
    artifacts = store.list_artifacts(run.run_id)
    assert {"set-up/config.json", "set-up/environment.json", "evaluation.json"} <= set(artifacts)
    assert {"pictures/loss_curves.png", "pictures/validation_curves.png"} <= set(artifacts)


def test_a_run_has_a_page_with_its_curves_and_both_tables(places: Places, children: dict, tmp_path: Path) -> None:
    assert write_report(children["rlq"].name, places, tmp_path / "rlq.html") == "run"
    page = (tmp_path / "rlq.html").read_text()
    for chart in ("scores", "losses-cap", "losses-tad", "conflict", "diagnostics", "course"):
        assert f'<div id="{chart}" class="chart"' in page
    assert "The same checkpoint on the test identities" in page
    assert "2 of 2" in page


def test_prometheus_finds_every_step(ray_cluster, children: dict) -> None:
    base, rlq = children["base"].name, children["rlq"].name
    figures = wait_for_figures(lambda found: ("rlq_checkpoints_total", rlq) in found)
    for name, phases in ((base, ("cap",)), (rlq, ("cap", "tad"))):
        assert {key[2] for key in figures if key[:2] == ("rlq_steps_total", name)} == set(phases)
        for phase in phases:
            assert figures["rlq_steps_total", name, phase] == 6
            assert figures["rlq_images_total", name, phase] == 6 * 8
            assert figures["rlq_phase_seconds_total", name, phase] > 0
            for rank in ("0", "1"):
                assert figures["rlq_stall_seconds_total", name, phase, rank] > 0
                assert figures["rlq_read_bytes_total", name, phase, rank] > 0
        assert figures["rlq_checkpoints_total", name] == 2
        assert figures["rlq_checkpoint_seconds_total", name] > 0
        assert figures["rlq_evaluation_seconds_total", name] > 0


def test_workers_log_where_a_line_comes_from(children: dict, service_folder: Path) -> None:
    run = children["rlq"]
    lines = [
        json.loads(line)
        for file in (service_folder / "ray" / "session_latest" / "logs").glob("worker-*.err")
        for line in file.read_text().splitlines()
        if line.startswith("{") and run.run_id in line
    ]
    said: dict[int, list[str]] = {0: [], 1: []}
    for line in sorted(lines, key=lambda line: line["time"]):
        said[line["rank"]].append(line["message"])
        assert (line["run"], line["workers"], line["level"]) == (run.name, 2, "INFO")
        assert line["node"]
        assert line["host"]
    begin, end = "training from step 0 of 12 on cpu", "finished at step 12"
    assert said == {0: [begin, *["evaluated", "kept a checkpoint"] * 2, end], 1: [begin, end]}
    assert [line["epoch"] for line in lines if line["message"] == "evaluated"] == [1, 2]


def test_pictures_are_kept(store: MlflowStore, result: DemoResult) -> None:
    wanted = {"data", "low_quality", "results", "cmc", "retrieval"}
    assert {f"pictures/{name}.png" for name in wanted} <= set(store.list_artifacts(result.parent_run_id))
    assert wanted <= {path.stem for path in result.pictures.glob("*.png")}


def test_a_second_call_trains_nothing_and_finds_the_same(
    places: Places, out: Path, result: DemoResult, store: MlflowStore
) -> None:
    def steps_trained() -> dict[str, int]:
        found = store.find_runs(store.ensure_experiment(EXPERIMENT), parent_run_id=result.parent_run_id)
        return {run.name: len(store.metric_history(run.run_id, "cap/loss")) for run in found}

    before = steps_trained()
    again = run_demo(out, places, size=SIZES["tiny"], overrides=OVERRIDES)
    assert steps_trained() == before
    assert set(before.values()) == {6}
    assert again.parent_run_id == result.parent_run_id
    for name, evaluation in result.evaluations.items():
        for score in evaluation.scores:
            same = again.evaluations[name][score.quality, score.protocol]
            assert same.ranking.ap_Q == pytest.approx(score.ranking.ap_Q, abs=1e-6)
    assert json.loads((out / "evaluation.json").read_text())["rlq"]["hq"]["cc"]["queries"] == 16
