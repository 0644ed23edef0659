"""Trainings and sweeps on a cluster of several nodes, which come and go; data, runs and checkpoints lie in real S3.

Nodes have one CPU, so two workers lie on two nodes. Every step's losses are compared with those of a run that nothing
disturbed, by what the tracker was told.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.places import Places
from rlq_ray.distributed.runs import RunEntry, find_run
from rlq_ray.storage import exists, locate, read_json, write_bytes
from rlq_ray.tracking.mlflow_tracker import MlflowStore
from tuning.record import Ledger

pytestmark = pytest.mark.slow

STEPS_PER_EPOCH = 40
PATIENCE_S = 900
LOSSES = ("cap/loss", "cap/identity", "cap/triplet")
TOLERANCE = 1e-3
"""Of losses of about 1 to 6, after a hundred steps with other numbers of workers."""
SETTINGS = (
    f"train.steps_per_epoch={STEPS_PER_EPOCH}",
    "train.log_every_steps=5",
    "model.synchronised_batchnorm=true",
    # Many gradients behind a BatchNorm are 0 but for rounding, of which Adam makes whole steps: small ones here.
    "optimizer.learning_rate=1e-6",
)

SLOW_STEPS = ("model.narrow_width=8", "model.input_height=128", "model.input_width=64", "train.steps_per_epoch=5")
"""Few steps in the time that nodes take to come and go, since another run has to take them all again."""

STILL = ("optimizer.learning_rate=1e-8",)
"""So that what rounding makes of gradients does not grow from step to step."""


class Nodes:
    """The simulated cluster, which has a process of its own."""

    def __init__(self, folder: Path) -> None:
        # Another test's Ray leaves its own variables, such as that nobody watches for nodes that are taken back.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.environment = {
            **kept,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_TMPDIR": str(folder),  # where Ray notes the address of its latest cluster, for all of the machine
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_raylet_start_wait_time_s": "180",
            "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "120",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        command = [sys.executable, str(Path(__file__).with_name("simulated_nodes.py")), str(folder / "ray")]
        self._log = (folder / "nodes.log").open("wb")
        self._process = subprocess.Popen(
            command, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )
        self.environment["RAY_ADDRESS"] = self.ask("address")
        self.all: list[str] = []

    def ask(self, *words: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith(b"answer "):
                return json.loads(line.removeprefix(b"answer "))
        raise AssertionError(Path(self._log.name).read_text())

    def have(self, count: int) -> None:
        """Have so many nodes that take work."""
        while len(self.all) < count:
            self.add()
        while len(self.all) > count:
            self.kill(self.all[-1])

    def add(self) -> str:
        self.all.append(self.ask("add"))
        return self.all[-1]

    def kill(self, node: str) -> None:
        self.all.remove(node)
        self.ask("kill", node)

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(60)
        finally:
            self._process.kill()
            self._log.close()


@pytest.fixture(scope="module")
def nodes(service_folder: Path, s3_store) -> Iterator[Nodes]:
    """A cluster whose nodes know the keys of the store by their environment."""
    folder = service_folder / "n"
    (folder / "ray").mkdir(parents=True)
    found = Nodes(folder)
    yield found
    found.end()


@pytest.fixture(scope="module")
def places(s3_store, mlflow_server) -> Places:
    return Places(locate(f"{s3_store.uri}/nodes"), mlflow_server.uri, None)


@pytest.fixture(scope="module")
def data(places: Places, tiny_people) -> str:
    """The target's shards, in S3."""
    folder, place = Path(tiny_people.shards["target"]), places.store / "shards"
    for path in folder.rglob("*"):
        if path.is_file():
            write_bytes(place / str(path.relative_to(folder)), path.read_bytes())
    return place.uri


class Driver:
    """A command that runs beside the test."""

    def __init__(self, nodes: Nodes, places: Places, log: Path, *words: str) -> None:
        where = ["--store", places.store.uri, "--tracking-uri", places.tracking_uri]
        command = [sys.executable, "-m", "pipelines.cli", *words, *where]
        self.log = log
        with log.open("wb") as written:
            self.process = subprocess.Popen(command, env=nodes.environment, stdout=written, stderr=written)

    def wait_for(self, what: Callable[[], object]) -> None:
        """Wait until something is so, while the command runs."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not what():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline_s, self.log.read_text()
            time.sleep(0.2)

    def end(self) -> int:
        """Wait for its end, and return its status."""
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()


class Training(Driver):
    """A training of the tiny base model with two workers, begun as a person does."""

    def __init__(self, nodes: Nodes, places: Places, log: Path, name: str, data: str, *settings: str) -> None:
        self.places, self.name = places, name
        recipe = ["tiny_base", f"data.target={data}", *SETTINGS, *settings, "--name", name]
        super().__init__(nodes, places, log, "train", *recipe)

    @property
    def entry(self) -> RunEntry:
        found = find_run(self.places.store, self.name)
        assert found is not None
        return found

    def checkpoints(self) -> dict[str, int]:
        """Give the step of every checkpoint that Ray Train knows, by name; the latest is last."""
        file = self.places.store / "runs" / self.name / "checkpoint_manager_snapshot.json"
        if not exists(file):
            return {}
        snapshot = read_json(file)
        latest = snapshot["latest_checkpoint_result"]
        results = [*(result for result in snapshot["checkpoint_results"] if result != latest), latest]
        return {result["checkpoint_dir_name"]: int(result["metrics"]["step"]) for result in results}

    def history(self, metric: str) -> list[tuple[int, float]]:
        """Give what the tracker was told of a metric, step and value, in the order of steps."""
        run_id = (find_run(self.places.store, self.name) or RunEntry("", "running", {})).mlflow_run_id
        points = MlflowStore(self.places.tracking_uri).metric_history(run_id, metric) if run_id else []
        return sorted((point.step, point.value) for point in points)

    def steps_with(self, workers: int) -> list[int]:
        """List steps that it has trained with so many workers, a step that was trained twice twice."""
        return [step for step, value in self.history("workers") if value == workers]


def assert_same_losses(run: Training, whole: Training, tolerance: float = 0.0) -> None:
    """Whatever a run was told of a step, be it twice, the undisturbed one was told, too."""
    for metric in LOSSES:
        expected = dict(whole.history(metric))
        found = run.history(metric)
        assert found
        for step, value in found:
            assert value == pytest.approx(expected[step], rel=0, abs=tolerance), (metric, step)


@pytest.fixture(scope="module")
def whole(nodes: Nodes, places: Places, data: str, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A training on two nodes that nothing disturbs."""
    nodes.have(2)
    run = Training(nodes, places, tmp_path_factory.mktemp("whole") / "log", "whole", data, "train.epochs=4")
    run.wait_for(lambda: set(nodes.ask("busy")) == set(nodes.all))
    assert run.end() == 0, run.log.read_text()
    return run


def test_two_workers_train_on_two_nodes(whole: Training) -> None:
    assert whole.entry.state == "finished"
    assert len(whole.steps_with(2)) == len(whole.history("workers")) > 0
    assert [step for step, _ in whole.history("cap/loss")] == list(range(4 * STEPS_PER_EPOCH))
    assert whole.entry.checkpoint.startswith("s3://")


def test_when_a_node_dies_it_goes_on_from_the_last_checkpoint_on_another(
    nodes: Nodes, places: Places, data: str, whole: Training, tmp_path: Path
) -> None:
    nodes.have(2)
    run = Training(nodes, places, tmp_path / "log", "bereft", data, "train.epochs=4")
    run.wait_for(run.checkpoints)
    nodes.kill(nodes.all[0])
    assert run.entry.state == "running"
    nodes.add()
    assert run.end() == 0, run.log.read_text()
    assert_same_losses(run, whole)
    assert {step for step, _ in run.history("cap/loss")} == set(range(4 * STEPS_PER_EPOCH))
    assert [step for step, _ in run.history("cap/loss")].count(0) == 1, "it did not begin anew"
    assert run.entry.metrics == whole.entry.metrics


def test_when_a_node_is_taken_back_no_step_is_lost(
    nodes: Nodes, places: Places, data: str, whole: Training, tmp_path: Path
) -> None:
    nodes.have(2)
    run = Training(nodes, places, tmp_path / "log", "moved", data, "train.epochs=4")
    run.wait_for(run.checkpoints)
    leaving = nodes.all[0]
    nodes.ask("drain", leaving, 120)
    run.wait_for(lambda: "a node is taken back" in run.log.read_text())
    assert list(run.checkpoints().values())[-1] > STEPS_PER_EPOCH, "one was kept at the notice"
    nodes.kill(leaving)
    nodes.add()
    assert run.end() == 0, run.log.read_text()
    assert [step for step, _ in run.history("cap/loss")] == list(range(4 * STEPS_PER_EPOCH)), "each step once"
    assert_same_losses(run, whole)
    assert run.entry.metrics == pytest.approx(whole.entry.metrics, abs=1e-6)
    assert not any(name.startswith("step_") for name in run.checkpoints()), "evaluations push it out"


def test_workers_come_and_go_with_the_nodes_and_the_result_stays(
    nodes: Nodes, places: Places, data: str, tmp_path: Path
) -> None:
    nodes.have(1)
    settings = [*SLOW_STEPS, *STILL, "workers.least=1", "workers.resize_every_s=2", "workers.max_failures=9"]
    run = Training(nodes, places, tmp_path / "log", "elastic", data, "train.epochs=1000", *settings)
    run.wait_for(run.checkpoints)
    assert run.steps_with(1)
    nodes.add()
    run.wait_for(lambda: run.steps_with(2))
    alone = len(run.steps_with(1))
    nodes.kill(nodes.all[0])
    run.wait_for(lambda: len(run.steps_with(1)) > alone)
    run.process.send_signal(signal.SIGTERM)
    assert run.end() == 143, run.log.read_text()
    kept_step = list(run.checkpoints().values())[-1]
    nodes.have(2)
    epochs = kept_step // 5 + 1
    fixed = Training(nodes, places, tmp_path / "fixed", "fixed", data, *SLOW_STEPS, *STILL, f"train.epochs={epochs}")
    assert fixed.end() == 0, fixed.log.read_text()
    assert not fixed.steps_with(1)
    assert {step for step, _ in run.history("cap/loss")} == set(range(kept_step))
    assert_same_losses(run, fixed, TOLERANCE)


def test_a_sweep_uses_all_nodes_and_outlives_one(nodes: Nodes, places: Places, tmp_path: Path) -> None:
    nodes.have(2)
    words = ["sweep", "smoke", "--out", str(tmp_path), "evaluate.bootstrap_samples=0", "train.steps_per_epoch=20"]
    driver = Driver(nodes, places, tmp_path / "log", *words)

    def trainings() -> list[Any]:
        return [own for trial in Ledger(places.store, "smoke").read() for own in trial.trainings]

    driver.wait_for(lambda: any(own.state == "finished" for own in trainings()))
    driver.wait_for(lambda: set(nodes.ask("busy")) == set(nodes.all))
    nodes.kill(nodes.all[0])
    nodes.add()
    assert driver.end() == 0, driver.log.read_text()
    assert [own.reason for own in trainings() if own.state not in ("finished", "stopped early")] == []
    assert len(trainings()) == 9
