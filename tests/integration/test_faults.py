"""Runs that are killed, resumed, or started by mistake, on a real Ray cluster."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from pipelines.cli import main
from pipelines.places import Places
from pipelines.recipe import RECIPES
from pipelines.train import train
from rlq_ray.config.load import load_recipe, to_dict
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.distributed.driver import launch
from rlq_ray.distributed.progress import Progress
from rlq_ray.distributed.runs import RunEntry, claim_name, find_run
from rlq_ray.errors import DataError, UsageError
from rlq_ray.storage import exists, locate, read_bytes
from rlq_ray.tracking.mlflow_tracker import MlflowStore
from rlq_ray.train.checkpoint import read_state

STEPS_PER_EPOCH = 8
LENGTH = ("train.epochs=4", f"train.steps_per_epoch={STEPS_PER_EPOCH}")


@pytest.fixture(scope="module")
def places(ray_cluster, sqlite_uri, tmp_path_factory: pytest.TempPathFactory) -> Places:
    return Places(locate(tmp_path_factory.mktemp("store")), sqlite_uri, None)


@pytest.fixture(scope="module")
def config(tiny_people) -> ExperimentConfig:
    settings = [f"data.target={tiny_people.shards['target']}", *LENGTH]
    return load_recipe(RECIPES / "tiny_base.toml", settings)


@pytest.fixture(scope="module")
def whole(places: Places, config: ExperimentConfig) -> RunEntry:
    """A run that nothing disturbed."""
    return train(config, places, name="whole")


def latest_state(places: Places, name: str) -> dict:
    return read_state(places.store / "runs" / name / "epoch_00004")


def assert_same_training(left: dict, right: dict) -> None:
    assert left["step"] == right["step"]
    for part in ("network", "clothes"):
        tensors = left[part]["classifier"] if part == "clothes" else left[part]
        others = right[part]["classifier"] if part == "clothes" else right[part]
        for key, tensor in tensors.items():
            torch.testing.assert_close(tensor, others[key], rtol=0, atol=1e-6, msg=key)


def is_registered(places: Places, name: str) -> bool:
    """Tell whether Ray Train knows a checkpoint: its controller takes note of what was uploaded at its next look."""
    snapshot = places.store / "runs" / name / "checkpoint_manager_snapshot.json"
    return exists(snapshot) and b"epoch_0000" in read_bytes(snapshot)


def wait_for_first_checkpoint(places: Places, name: str, driver: subprocess.Popen) -> None:
    deadline_s = time.monotonic() + 300
    while not is_registered(places, name) and driver.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.05)


def test_a_killed_worker_changes_nothing_but_time(
    places: Places, config: ExperimentConfig, whole: RunEntry, train_workers: Callable[[], list[int]]
) -> None:
    killed: list[int] = []
    seen_after: list[int] = []

    def kill_once(progress: Progress) -> None:
        if killed:
            seen_after.append(progress.step)
        if progress.epoch >= 2 and not killed:
            pid = train_workers()[0]
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    entry = claim_name(places.store, "killed", to_dict(config), resume=False)
    entry = launch(config, entry=entry, store=places.store, show=kill_once)
    assert killed, "the run was over before a worker could be killed"
    assert entry.state == "finished"
    assert min(seen_after) > STEPS_PER_EPOCH, "it went on from a checkpoint, not from the beginning"
    assert_same_training(latest_state(places, "killed"), latest_state(places, "whole"))


def test_a_run_whose_driver_was_killed_goes_on_by_its_name(
    places: Places, config: ExperimentConfig, whole: RunEntry, ray_cluster, tmp_path: Path
) -> None:
    settings = [f"data.target={config.data.target}", *LENGTH]
    where = ["--store", places.store.uri, "--tracking-uri", places.tracking_uri]
    command = [sys.executable, "-m", "pipelines.cli", "train", "tiny_base", *settings, "--name", "cut-off", *where]
    with (tmp_path / "log").open("wb") as log:
        environment = os.environ | {"RAY_ADDRESS": ray_cluster.address}
        driver = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        wait_for_first_checkpoint(places, "cut-off", driver)
        driver.kill()
        driver.wait()
    assert is_registered(places, "cut-off"), (tmp_path / "log").read_text()
    assert find_run(places.store, "cut-off").state == "running"
    resumed = train(config, places, name="cut-off", resume=True)
    assert resumed.state == "finished"
    assert_same_training(latest_state(places, "cut-off"), latest_state(places, "whole"))
    store = MlflowStore(places.tracking_uri)
    assert store.run(resumed.mlflow_run_id).status == "FINISHED"
    steps = [point.step for point in store.metric_history(resumed.mlflow_run_id, "cap/loss")]
    assert steps.count(0) == 1, "the first epoch was trained once"
    assert set(steps) == set(range(4 * STEPS_PER_EPOCH))


def stop(places: Places, config: ExperimentConfig, address: str, name: str, sent: signal.Signals, log: Path) -> int:
    """Send a signal to a driver in the midst of a training, and return its exit status."""
    settings = [f"data.target={config.data.target}", "train.epochs=400", f"train.steps_per_epoch={STEPS_PER_EPOCH}"]
    where = ["--store", places.store.uri, "--tracking-uri", places.tracking_uri]
    command = [sys.executable, "-m", "pipelines.cli", "train", "tiny_base", *settings, "--name", name, *where]
    command.append("--resume-or-begin")  # there is nothing to resume yet
    with log.open("wb") as written:
        listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # tests in the background of a shell are deaf
        driver = subprocess.Popen(
            command, env=os.environ | {"RAY_ADDRESS": address}, stdout=written, stderr=written, preexec_fn=listening
        )
        wait_for_first_checkpoint(places, name, driver)
        driver.send_signal(sent)
        return driver.wait(timeout=90)


def latest_step(places: Places, name: str) -> int:
    """Say at which step the latest checkpoint was made that Ray Train knows."""
    snapshot = json.loads(read_bytes(places.store / "runs" / name / "checkpoint_manager_snapshot.json"))
    return int(snapshot["latest_checkpoint_result"]["metrics"]["step"])


def test_ctrl_c_stops_a_run_that_can_go_on(
    places: Places, config: ExperimentConfig, ray_cluster, tmp_path: Path
) -> None:
    status = stop(places, config, ray_cluster.address, "stopped", signal.SIGINT, tmp_path / "log")
    told = (tmp_path / "log").read_text()
    assert status == 130, told
    assert told.splitlines()[-1].startswith("error: interrupted")
    entry = find_run(places.store, "stopped")
    assert entry.state == "stopped"
    assert MlflowStore(places.tracking_uri).run(entry.mlflow_run_id).status == "KILLED"


@pytest.mark.slow
def test_sigterm_keeps_the_step_that_a_run_goes_on_from(
    places: Places, config: ExperimentConfig, ray_cluster, tmp_path: Path
) -> None:
    status = stop(places, config, ray_cluster.address, "ended", signal.SIGTERM, tmp_path / "log")
    told = (tmp_path / "log").read_text()
    assert status == 143, told
    assert told.splitlines()[-1].startswith("error: stopped by SIGTERM: ")
    assert "*** SIGTERM" not in told, "Ray's stack"
    entry, store = find_run(places.store, "ended"), MlflowStore(places.tracking_uri)
    assert entry.state == "stopped"
    assert store.run(entry.mlflow_run_id).status == "KILLED"
    kept_step = latest_step(places, "ended")
    trained = [point.step for point in store.metric_history(entry.mlflow_run_id, "cap/loss")]
    assert trained == list(range(kept_step)), "every step that was trained is tracked, and none that was not kept"
    epochs = kept_step // STEPS_PER_EPOCH + 2
    longer = config.model_copy(update={"train": config.train.model_copy(update={"epochs": epochs})})
    resumed = train(longer, places, name="ended", resume=True)
    assert resumed.state == "finished"
    steps = [point.step for point in store.metric_history(entry.mlflow_run_id, "cap/loss")]
    assert steps == list(range(epochs * STEPS_PER_EPOCH)), "no step was trained twice"


def test_a_name_is_used_once(places: Places, config: ExperimentConfig, whole: RunEntry) -> None:
    with pytest.raises(UsageError, match=r"the run 'whole' exists .* --resume"):
        train(config, places, name="whole")
    with pytest.raises(UsageError, match="there is no run 'nobody'"):
        train(config, places, name="nobody", resume=True)
    other = config.model_copy(update={"seed": 9})
    with pytest.raises(UsageError, match="started with another 'seed'"):
        train(other, places, name="whole", resume=True)
    shorter = config.model_copy(update={"train": config.train.model_copy(update={"steps_per_epoch": 4})})
    with pytest.raises(UsageError, match=r"started with another 'train\.steps_per_epoch'"):
        train(shorter, places, name="whole", resume=True)
    assert find_run(places.store, "whole") == whole


def test_a_job_that_is_begun_again_resumes(
    places: Places, config: ExperimentConfig, whole: RunEntry, monkeypatch, capsys
) -> None:
    settings = [f"data.target={config.data.target}", *LENGTH, "seed=9"]
    where = ["--store", places.store.uri, "--tracking-uri", places.tracking_uri]
    monkeypatch.setattr(
        sys, "argv", ["rlq", "train", "tiny_base", *settings, "--name", "whole", "--resume-or-begin", *where]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert (
        "the run 'whole' was started with another 'seed': resume it with the same settings" in capsys.readouterr().err
    )


def test_what_the_cluster_cannot_place_is_refused_with_the_arithmetic(places: Places, config: ExperimentConfig) -> None:
    crowd = config.model_copy(update={"workers": config.workers.model_copy(update={"count": 4, "cpus": 3})})
    with pytest.raises(UsageError, match=r"4 workers of 3 CPUs do not fit, the cluster's nodes have 4 CPUs"):
        train(crowd, places, name="crowd")
    assert find_run(places.store, "crowd") is None


def test_a_cause_that_no_restart_mends_ends_in_one_line(
    places: Places, config: ExperimentConfig, tiny_people, tmp_path: Path
) -> None:
    """A shard that is damaged after the preflight is found by the workers."""
    damaged = tmp_path / "shards"
    shutil.copytree(tiny_people.shards["target"], damaged)
    for shard in (damaged / "shards").glob("*.parquet"):
        shard.write_bytes(shard.read_bytes()[:-100])
    broken = config.model_copy(update={"data": config.data.model_copy(update={"target": str(damaged)})})
    with pytest.raises(DataError) as caught:
        train(broken, places, name="damaged")
    assert "\n" not in str(caught.value)
    assert ".parquet" in str(caught.value)
    entry = find_run(places.store, "damaged")
    assert entry is not None
    assert entry.state == "failed"
    assert MlflowStore(places.tracking_uri).run(entry.mlflow_run_id).status == "FAILED"
