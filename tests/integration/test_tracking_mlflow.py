"""The tracker against a real MLflow server and against a SQLite file."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from cluster.mlflow_server import SERVER_ENVIRONMENT, start_mlflow_server
from cluster.processes import free_ports
from rlq_ray.errors import TrackingError
from rlq_ray.tracking import MetricPoint, default_uri
from rlq_ray.tracking.mlflow_tracker import MlflowStore

WRITER = """
import sys
from rlq_ray.tracking.mlflow_tracker import MlflowStore
uri, run_id, name = sys.argv[1:]
store = MlflowStore(uri)
own = store.create_run(store.ensure_experiment("shared"), name)
for tracker in (store.attach(run_id), store.attach(own)):
    for step in range(100):
        tracker.log_metrics({name: float(step)}, step)
    assert tracker.finish("FINISHED") == 0
"""


@pytest.fixture
def store(tracking_uri):
    return MlflowStore(tracking_uri)


@pytest.fixture
def experiment_id(store, request):
    return store.ensure_experiment(request.node.name)


@pytest.fixture
def run_id(store, experiment_id):
    return store.create_run(experiment_id, "run-1", tags={"kind": "test"})


def test_an_experiment_is_made_once(store, experiment_id, request):
    assert store.ensure_experiment(request.node.name) == experiment_id


def test_keeps_what_a_run_writes(store, experiment_id, run_id):
    tracker = store.attach(run_id)
    assert store.run(run_id).status == "RUNNING"
    tracker.log_params({"train.epochs": 3, "teacher": None} | {f"p{i}": i for i in range(120)})
    tracker.set_tags({"quality": "lq"})
    tracker.log_metrics({"loss/total": 2.0, "cc/mAP": 0.5}, step=0)
    tracker.log_metric_history([MetricPoint("loss/total", 1.0, 1), MetricPoint("loss/total", float("nan"), 2)])
    assert tracker.finish("FINISHED") == 0

    record = store.run(run_id)
    assert (record.name, record.status, record.experiment_id) == ("run-1", "FINISHED", experiment_id)
    assert record.params["train.epochs"] == "3"
    assert record.params["teacher"] == "None"
    assert len(record.params) == 122
    assert record.tags["quality"] == "lq"
    assert record.tags["kind"] == "test"
    assert record.metrics["cc/mAP"] == 0.5
    history = store.metric_history(run_id, "loss/total")
    assert history[:2] == [("loss/total", 2.0, 0), ("loss/total", 1.0, 1)]
    assert np.isnan(history[2].value)
    assert record.ended_s >= record.started_s


def test_keeps_artifacts(store, run_id, tmp_path):
    tracker = store.attach(run_id)
    source = tmp_path / "source.csv"
    source.write_text("a,b\n")
    figure, axes = plt.subplots()
    axes.plot([0, 1])
    tracker.log_text("notes/a.txt", "text")
    tracker.log_json("manifest.json", {"rows": 3})
    tracker.log_image("pictures/sheet.png", Image.new("RGB", (8, 4), (255, 0, 0)))
    tracker.log_figure("pictures/curve.svg", figure)
    tracker.log_file(source, "tables")
    source.unlink()  # what was logged is logged
    plt.close(figure)
    assert tracker.finish("FINISHED") == 0

    names = ["manifest.json", "notes/a.txt", "pictures/curve.svg", "pictures/sheet.png", "tables/source.csv"]
    assert store.list_artifacts(run_id) == names
    found = {name: store.download(run_id, name, tmp_path / "got") for name in names}
    assert found["notes/a.txt"].read_text() == "text"
    assert json.loads(found["manifest.json"].read_text()) == {"rows": 3}
    assert Image.open(found["pictures/sheet.png"]).getpixel((0, 0)) == (255, 0, 0)
    assert "<svg" in found["pictures/curve.svg"].read_text()
    assert found["tables/source.csv"].read_text() == "a,b\n"


def test_keeps_metrics_in_a_local_file_too(store, run_id, tmp_path):
    tracker = store.attach(run_id, metrics_path=tmp_path / "deep" / "metrics.jsonl")
    tracker.log_metrics({"a": 1.5, "b": float("inf")}, step=7)
    lines = [json.loads(line) for line in (tmp_path / "deep" / "metrics.jsonl").read_text().splitlines()]
    tracker.finish("KILLED")
    assert [(line["name"], line["value"], line["step"]) for line in lines] == [("a", 1.5, 7), ("b", None, 7)]
    assert store.run(run_id).status == "KILLED"


def test_a_resumed_run_goes_on_where_it_was(store, run_id):
    for step in range(2):
        tracker = store.attach(run_id)
        tracker.log_params({"seed": 0})
        tracker.log_metrics({"loss": float(step)}, step)
        tracker.finish("FINISHED")
    assert [point.step for point in store.metric_history(run_id, "loss")] == [0, 1]
    assert store.run(run_id).status == "FINISHED"


def test_finds_runs_by_name_status_and_parent(store, experiment_id, run_id):
    child = store.create_run(experiment_id, "child", parent_run_id=run_id)
    assert [r.run_id for r in store.find_runs(experiment_id, parent_run_id=run_id)] == [child]
    assert store.run(child).parent_run_id == run_id
    assert store.find_runs(experiment_id, "child", status="FINISHED") == []
    store.end_run(child, "FINISHED")
    assert [r.run_id for r in store.find_runs(experiment_id, "child", status="FINISHED")] == [child]
    assert {r.run_id for r in store.find_runs(experiment_id)} == {run_id, child}


def test_a_stored_model_computes_what_the_module_did(store, run_id, tmp_path):
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    ).eval()
    tracker = store.attach(run_id)
    uri = tracker.log_model("net", module, np.zeros((2, 3, 16, 8), np.float32), step=5)
    tracker.finish("FINISHED")
    assert store.register_model(uri, f"rlq-{run_id}", alias="champion") == "1"
    assert store.register_model(uri, f"rlq-{run_id}", alias="champion") == "2"

    image_BCHW = np.random.default_rng(0).random((5, 3, 16, 8), np.float32)  # another batch size than the example's
    np.save(tmp_path / "image.npy", image_BCHW)
    load = (
        "import sys, mlflow, numpy, torch; mlflow.set_tracking_uri(sys.argv[1])\n"
        "model = mlflow.pytorch.load_model(sys.argv[2])\n"
        "image = torch.from_numpy(numpy.load(sys.argv[3] + '/image.npy'))\n"
        "numpy.save(sys.argv[3] + '/feature.npy', model(image).detach().numpy())"
    )
    address = f"models:/rlq-{run_id}@champion"
    subprocess.run([sys.executable, "-c", load, store.uri, address, str(tmp_path)], check=True, cwd=tmp_path)
    with torch.no_grad():
        expected_BD = module(torch.from_numpy(image_BCHW)).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "feature.npy"), expected_BD, rtol=1e-5, atol=1e-6)


def test_refuses_a_model_that_would_be_stored_wrongly(store, run_id):
    tracker, module = store.attach(run_id), torch.nn.Linear(3, 2)
    with pytest.raises(ValueError, match="training mode: call eval"):
        tracker.log_model("net", module, np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match="holds 1 row: give at least 2"):
        tracker.log_model("net", module.eval(), np.zeros((1, 3), np.float32))
    tracker.finish("FINISHED")


def test_refuses_names_that_cannot_be_stored(store, run_id):
    tracker = store.attach(run_id)
    with pytest.raises(ValueError, match="metric name 'mAP@5' is not storable"):
        tracker.log_metrics({"mAP@5": 1.0}, step=0)
    with pytest.raises(ValueError, match=r"artifact name '../a.txt' leaves the run"):
        tracker.log_text("../a.txt", "x")
    assert tracker.finish("FINISHED") == 0


def test_says_that_a_parameter_cannot_change(store, run_id):
    tracker = store.attach(run_id)
    tracker.log_params({"seed": 0})
    with pytest.raises(TrackingError, match="begin a new run") as caught:
        tracker.log_params({"seed": 1})
    tracker.finish("FAILED")
    assert "\n" not in str(caught.value)
    assert store.run(run_id).status == "FAILED"


def test_says_that_a_run_is_not_there(store):
    with pytest.raises(TrackingError, match="cannot read run 0123456789abcdef0123456789abcdef") as caught:
        store.run("0123456789abcdef0123456789abcdef")
    assert "\n" not in str(caught.value)


def test_processes_share_a_store_and_even_a_run(store, tracking_uri):
    run_id = store.create_run(store.ensure_experiment("shared"), "both")
    names = ["one", "two"]
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, tracking_uri, run_id, name]) for name in names]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    for name in names:
        assert [point.step for point in store.metric_history(run_id, name)] == list(range(100))
    assert {r.name for r in store.find_runs(store.ensure_experiment("shared"))} >= {"both", "one", "two"}


def test_two_processes_may_make_a_store_at_once(tmp_path):
    script = (
        "import sys; from rlq_ray.tracking.mlflow_tracker import MlflowStore\n"
        "print(MlflowStore(sys.argv[1]).ensure_experiment('new'))"
    )
    command = [sys.executable, "-c", script, default_uri(tmp_path / "fresh")]
    makers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [maker.communicate(timeout=120)[0] for maker in makers]
    assert answers[0] == answers[1] != ""


def test_artifacts_of_a_file_store_lie_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = MlflowStore(default_uri("data"))
    tracker = store.attach(store.create_run(store.ensure_experiment("x"), "r"))
    tracker.log_text("a.txt", "x")
    tracker.finish("FINISHED")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.slow
def test_nothing_is_lost_when_a_server_is_away_for_a_while(tmp_path):
    (port,) = free_ports(1)
    arguments = (default_uri(tmp_path), tmp_path / "artifacts", tmp_path / "log")
    server = start_mlflow_server(*arguments, port=port)
    store = MlflowStore(server.uri)
    run_id = store.create_run(store.ensure_experiment("away"), "run-1")
    tracker = store.attach(run_id, flush_timeout_s=120)
    tracker.log_metrics({"loss": 0.0}, step=0)
    server.stop(grace_s=2)
    began_s = time.monotonic()
    for step in range(1, 50):
        tracker.log_metrics({"loss": float(step)}, step)
    tracker.log_text("a.txt", "x")
    assert time.monotonic() - began_s < 5  # a bound, not a speed: nobody waited for the server
    server = start_mlflow_server(*arguments, port=port)
    assert tracker.finish("FINISHED") == 0
    assert [point.step for point in store.metric_history(run_id, "loss")] == list(range(50))
    assert store.list_artifacts(run_id) == ["a.txt"]
    server.stop(grace_s=2)


@pytest.mark.slow
def test_the_end_of_a_run_does_not_wait_for_a_server_that_is_gone(tmp_path):
    server = start_mlflow_server(default_uri(tmp_path), tmp_path / "artifacts", tmp_path / "log")
    store = MlflowStore(server.uri)
    tracker = store.attach(
        store.create_run(store.ensure_experiment("gone"), "run-1"), tmp_path / "metrics.jsonl", flush_timeout_s=1
    )
    server.stop(grace_s=2)
    tracker.log_metrics({"a": 1.0, "b": 2.0}, step=0)
    assert tracker.finish("FINISHED") == 3  # two values and the status
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
    with pytest.raises(TrackingError, match="no tracking server answers"):
        MlflowStore(server.uri)


def write_at_once(uri, writers, windows):
    """Have so many runs written by as many trackers at the same time; give what each lost and what each run holds."""
    store = MlflowStore(uri)
    experiment_id = store.ensure_experiment("at-once")
    run_ids = [store.create_run(experiment_id, f"run-{number}") for number in range(writers)]
    trackers = [MlflowStore(uri).attach(run_id, flush_timeout_s=200) for run_id in run_ids]

    def write(tracker):
        for step in range(windows):
            tracker.log_metric_history(MetricPoint(f"term-{term}", 0.5, step) for term in range(100))
            tracker.flush()
        return tracker.detach()

    with ThreadPoolExecutor(writers) as pool:
        lost = list(pool.map(write, trackers))
    return lost, [len(store.metric_history(run_id, "term-99")) for run_id in run_ids]


@pytest.mark.slow
def test_64_trainings_write_to_a_server_at_once(mlflow_server):
    lost, written = write_at_once(mlflow_server.uri, writers=64, windows=3)
    assert lost == [0] * 64
    assert written == [3] * 64


@pytest.mark.slow
def test_a_server_whose_database_takes_no_more_writers_is_asked_again(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(SERVER_ENVIRONMENT, "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE", "1")
    monkeypatch.setitem(SERVER_ENVIRONMENT, "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW", "1")
    server = start_mlflow_server(f"sqlite:///{tmp_path / 'server.db'}", tmp_path / "artifacts", tmp_path / "log")
    try:
        lost, written = write_at_once(server.uri, writers=8, windows=1)
    finally:
        server.stop()
    assert "QueuePool limit" in caplog.text
    assert lost == [0] * 8
    assert written == [1] * 8
