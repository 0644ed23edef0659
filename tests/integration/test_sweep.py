"""A sweep in its smallest size, end to end: killed at any moment it goes on, and nothing that finished runs twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from pipelines.places import Places
from pipelines.sweep.begun import Sweep, find_sweep, report_sweep
from pipelines.sweep.course import begin_sweep, carry_out
from pipelines.sweep.file import SWEEPS
from pipelines.train import train
from rlq_ray.config.load import build_config, load_recipe
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.distributed.runs import find_run, runs_folder
from rlq_ray.distributed.threads import looking_on
from rlq_ray.distributed.trial_part import checkpoint_of
from rlq_ray.errors import UsageError
from rlq_ray.storage import locate, read_bytes
from rlq_ray.tracking.base import RunRecord
from rlq_ray.tracking.mlflow_tracker import MlflowStore
from rlq_ray.train.checkpoint import read_state
from tuning import pending
from tuning.record import Ledger, Training
from tuning.settings import BudgetConfig

EXPLAIN = pending.explain
SETTINGS = ("evaluate.bootstrap_samples=0",)


@pytest.fixture(scope="module")
def places(ray_cluster, s3_store, mlflow_server) -> Places:
    return Places(store=locate(f"{s3_store.uri}/sweeps"), tracking_uri=mlflow_server.uri, ray_address=None)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweeps")


@pytest.fixture(scope="module")
def whole(places: Places, out: Path) -> Sweep:
    sweep = begin_sweep("smoke", places, name="whole", out=out, overrides=SETTINGS)
    carry_out(sweep)
    return sweep


def trainings(sweep: Sweep) -> list[Training]:
    return [training for trial in sweep.ledger.read() for training in trial.trainings]


def curves(sweep: Sweep) -> dict[str, bytes]:
    """Give what every training that finished left in the store."""
    folder = runs_folder(sweep.places.store)
    return {own.run: read_bytes(folder / own.run / "curve.json") for own in trainings(sweep) if own.state == "finished"}


def children(store: MlflowStore, parent: RunRecord) -> list[RunRecord]:
    return store.find_runs(parent.experiment_id, parent_run_id=parent.run_id)


def test_every_configuration_is_trained_and_survivors_with_another_seed(whole: Sweep) -> None:
    trials = whole.ledger.read()
    assert [trial.number for trial in trials] == list(range(6))
    assert {training.state for training in trainings(whole)} <= {"finished", "stopped early"}
    assert sum(len(trial.trainings) == 2 for trial in trials) == 3, "half of them"
    for trial in trials:
        for training in trial.trainings:
            entry = find_run(whole.places.store, training.run)
            assert entry.state == training.state
            assert entry.config["seed"] == training.seed
            assert entry.config["schedule"]["tad_steps"] == trial.values["schedule.tad_steps"]
            assert training.images > 0


def test_the_report_is_there_while_it_runs_and_after(whole: Sweep) -> None:
    report = json.loads((whole.folder / "report.json").read_text())
    assert report["state"] == "finished"
    again = report_sweep(find_sweep("whole", whole.places))
    assert json.loads(json.dumps({**again, "made": ""})) == {**report, "made": ""}
    assert (whole.folder / "report.html").stat().st_size > 10**6, "the charts' library is inside"


def test_the_winners_recipe_trains_what_the_winner_was(whole: Sweep, tmp_path: Path) -> None:
    winner = json.loads((whole.folder / "report.json").read_text())["winner"]
    trained = find_run(whole.places.store, whole.ledger.read()[winner["number"]].trainings[0].run).config
    config = load_recipe_text(winner["recipe"], tmp_path, trained)
    assert config.model_dump(mode="json") | {"name": ""} == trained | {"name": ""}


def test_runs_are_nested_in_mlflow_and_can_be_compared(whole: Sweep) -> None:
    store = MlflowStore(whole.places.tracking_uri)
    (parent,) = store.find_runs(store.ensure_experiment(whole.experiment), "whole")
    assert parent.status == "FINISHED"
    assert {"report/report.html", "report/report.json"} <= set(store.list_artifacts(parent.run_id, "report"))
    report = report_sweep(find_sweep("whole", whole.places))
    bounds = {row["number"]: row["lower"] for row in report["trials"] if row["rank"]}
    by_run = {training.run_id: training for training in trainings(whole)}
    words = {"finished": "FINISHED", "stopped early": "KILLED"}
    for trial in whole.ledger.read():
        (run,) = [run for run in children(store, parent) if run.run_id == trial.run_id]
        assert run.params == {key: str(value) for key, value in trial.values.items()}
        if trial.finished():
            assert {"mean/lq/cc/mAP", "mean/hq/cc/mAP", "lower_bound/lq/cc/mAP", "seeds"} <= set(run.metrics)
            assert run.metrics["seeds"] == len(trial.finished())
            assert run.metrics["lower_bound/lq/cc/mAP"] == pytest.approx(bounds[trial.number])
        for child in children(store, run):
            training = by_run.pop(child.run_id)
            assert child.status == words[training.state]
            assert child.params["seed"] == str(training.seed)
            last = store.metric_history(child.run_id, "validation/lq/cc/mAP")[-1]
            assert (last.step, last.value) == (training.curve[-1][0], training.curve[-1][2])
    assert not by_run


def test_a_finished_one_is_not_trained_again(whole: Sweep) -> None:
    before, kept = trainings(whole), curves(whole)
    carry_out(find_sweep("whole", whole.places))
    assert trainings(whole) == before
    assert curves(whole) == kept


def begin_in_a_process(places: Places, out: Path, name: str, address: str, *settings: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pipelines.cli", "sweep", "smoke", *SETTINGS, *settings, "--name", name]
    where = ["--out", str(out), "--store", places.store.uri, "--tracking-uri", places.tracking_uri]
    listening = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # tests in the background of a shell are deaf
    with (out / f"{name}.log").open("wb") as log:
        environment = os.environ | {"RAY_ADDRESS": address}
        return subprocess.Popen([*command, *where], env=environment, stdout=log, stderr=log, preexec_fn=listening)


def wait_for(sweep: Sweep, driver: subprocess.Popen[bytes], finished: int) -> None:
    """Wait until so many trainings have finished."""
    deadline_s = time.monotonic() + 120
    while driver.poll() is None and time.monotonic() < deadline_s:
        if sum(training.state == "finished" for training in trainings(sweep)) >= finished:
            return
        time.sleep(0.1)
    raise AssertionError((sweep.out / f"{sweep.name}.log").read_text())


@pytest.mark.parametrize("finished", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_killed_it_goes_on_and_trains_nothing_twice(whole: Sweep, ray_cluster, finished: int) -> None:
    name = f"killed-{finished}"
    sweep = replace(whole, name=name)
    driver = begin_in_a_process(whole.places, whole.out, name, ray_cluster.address)
    wait_for(sweep, driver, finished)
    driver.kill()
    driver.wait()
    kept = curves(sweep)
    carry_out(find_sweep(name, whole.places))
    assert kept
    assert kept.items() <= curves(sweep).items()
    assert [trial.values for trial in sweep.ledger.read()] == [trial.values for trial in whole.ledger.read()]
    assert {training.state for training in trainings(sweep)} <= {"finished", "stopped early"}
    ours, theirs = curves(sweep), curves(whole)
    for run in ours:
        if (twin := theirs.get(run.replace(name, "whole"))) is not None:
            points = [[own["metrics"]["score"] for own in json.loads(curve)] for curve in (ours[run], twin)]
            assert points[0] == points[1], "a training that was cut off ends as one that was not"
    store = MlflowStore(whole.places.tracking_uri)
    runs = store.find_runs(store.ensure_experiment(sweep.experiment))
    assert "RUNNING" not in {run.status for run in runs}
    assert len({run.name for run in runs}) == len(runs), "each run was made once"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "status", "words"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "stopped by SIGTERM")]
)
def test_ctrl_c_and_sigterm_stop_it_and_end_its_runs(
    whole: Sweep, ray_cluster, sent: signal.Signals, status: int, words: str
) -> None:
    name = f"stopped-{status}"
    sweep = replace(whole, name=name)
    driver = begin_in_a_process(whole.places, whole.out, name, ray_cluster.address)
    wait_for(sweep, driver, 1)
    driver.send_signal(sent)
    assert driver.wait(timeout=90) == status, (whole.out / f"{name}.log").read_text()
    assert (whole.out / f"{name}.log").read_text().splitlines()[-1].startswith(f"error: {words}")
    store = MlflowStore(whole.places.tracking_uri)
    assert "RUNNING" not in {run.status for run in store.find_runs(store.ensure_experiment(sweep.experiment))}
    assert report_sweep(find_sweep(name, whole.places))["state"] == "interrupted"


def test_refuses_what_cannot_be_searched(whole: Sweep, places: Places, out: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the sweep 'whole' exists in .*rlq sweep resume whole"):
        begin_sweep("smoke", places, name="whole", out=out, overrides=())
    with pytest.raises(UsageError, match="there is no sweep 'nobody'"):
        find_sweep("nobody", places)
    with pytest.raises(UsageError, match=r"the space searches schedule\.tad_steps, so 'schedule\.tad_steps=3'"):
        begin_sweep("smoke", places, name="other", out=out, overrides=("schedule.tad_steps=3",))
    with pytest.raises(UsageError, match="sets seed itself"):
        begin_sweep("smoke", places, name="other", out=out, overrides=("seed=3",))
    (tmp_path / "odd.toml").write_text(
        'name = "odd"\ntitle = "Odd"\nrecipe = "base"\n[space]\n"optimizer.learning_rat" = { choice = [1.0] }\n'
    )
    with pytest.raises(UsageError, match=r"unknown setting 'optimizer\.learning_rat': did you mean"):
        begin_sweep(str(tmp_path / "odd.toml"), places, name=None, out=out, overrides=())
    assert Ledger(places.store, "other").read_card() is None


def test_what_the_cluster_cannot_place_is_refused_with_the_arithmetic(places: Places, out: Path) -> None:
    sweep = begin_sweep("smoke", places, name="crowd", out=out, overrides=("workers.cpus=9",))
    with pytest.raises(UsageError, match="1 workers of 9 CPUs do not fit, the cluster's nodes have 4 CPUs"):
        carry_out(sweep)


@pytest.mark.slow
def test_a_sweep_that_waits_for_room_says_why(
    whole: Sweep, places: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @ray.remote(num_cpus=4)
    class Holder:
        def ready(self) -> bool:
            return True

    holder = Holder.remote()
    assert ray.get(holder.ready.remote())
    monkeypatch.setattr(pending, "PATIENCE_S", 1.0)
    told: list[str] = []

    def let_go(text: str) -> None:
        told.append(text)
        ray.kill(holder)

    monkeypatch.setattr(pending, "explain", lambda *amounts: let_go(EXPLAIN(*amounts)) or told[-1])
    sweep = begin_sweep("smoke", places, name="waiting", out=whole.out, overrides=SETTINGS)
    carry_out(replace(sweep, file=sweep.file.model_copy(update={"budget": BudgetConfig(trials=1)})))
    assert told == [
        "waiting for room for a training: it takes 1 CPU, and 0 of the cluster's 4 CPU are free; end what holds the "
        "others (`rlq reap` frees what dead drivers left), or add nodes"
    ]
    assert told[0] in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_trainings_with_several_workers_stop_early_and_outlive_a_worker(
    whole: Sweep, places: Places, out: Path, train_workers: Callable[[], list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = begin_sweep("smoke", places, name="several", out=out, overrides=(*SETTINGS, "workers.count=2"))
    killed: list[int] = []

    def kill_a_worker() -> None:
        if not killed and trainings(sweep) and (found := train_workers()):
            os.kill(found[0], signal.SIGKILL)
            killed.append(found[0])

    with looking_on(kill_a_worker, every_s=0.2, name="killer"):
        carry_out(sweep)
    assert killed
    assert "2 at a time, each on 2 workers with 1 CPU each" in " ".join(capsys.readouterr().err.split())
    states = {training.state for training in trainings(sweep)}
    assert states == {"finished", "stopped early"}, "one that stops early lets its workers go"
    assert [trial.values for trial in sweep.ledger.read()] == [trial.values for trial in whole.ledger.read()]
    ours, theirs = ({own.run: own for own in trainings(some)} for some in (sweep, whole))
    for run, training in ours.items():
        epochs = [point[0] for point in training.curve]
        assert epochs == list(range(1, len(epochs) + 1)), "every evaluation was told once"
        twin = theirs.get(run.replace("several", "whole"))
        if twin is not None and len(twin.curve) == len(training.curve):
            assert training.images == twin.images, "they share the batches"
    deadline_s = time.monotonic() + 60
    while ray.available_resources().get("CPU") != 4 and time.monotonic() < deadline_s:
        time.sleep(0.2)
    assert ray.available_resources()["CPU"] == 4


POPULATION = """
extends = "{settings}"
name = "population"
title = "A population"
recipe = "rlq_1_1"
objectives = ["lq/cc/mAP"]
[settings.train]
epochs = 3
[space]
"schedule.tad_steps" = {{ choice = [1, 2] }}
"loss.weights.feature_lq" = {{ uniform = [0.5, 2.0] }}
[search]
kind = "pbt"
generation_epochs = 1
exploit_share = 0.5
[stopping]
kind = "none"
[seeds]
values = [0]
[budget]
trials = 4
"""


@pytest.mark.slow
def test_a_population_leaves_a_recipe_that_replays_its_best(places: Places, out: Path, tmp_path: Path) -> None:
    (tmp_path / "population.toml").write_text(POPULATION.format(settings=SWEEPS.parent / "settings" / "tiny.toml"))
    sweep = begin_sweep(str(tmp_path / "population.toml"), places, name=None, out=out, overrides=SETTINGS)
    report = carry_out(sweep)
    trials = sweep.ledger.read()
    assert [len(trial.trainings) for trial in trials] == [3, 3, 3, 3]
    changed = [trial for trial in trials if trial.trainings[-1].part.stages]
    assert changed, "half of the members took over another's state and changed its settings"
    member = changed[0]
    last = member.trainings[-1]
    trained = find_run(places.store, last.run).config
    assert trained["stages"]
    config = build_config({**trained, "name": "replay", "workers": {**trained["workers"], "count": 1}})
    train(config, places, name="replay")
    ours, theirs = (read_state(checkpoint_of(places.store, run, 3))["network"] for run in ("replay", last.run))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    winner = load_recipe_text(report["winner"]["recipe"], tmp_path, trained)
    best = find_run(places.store, trials[report["winner"]["number"]].trainings[-1].run).config
    assert winner.model_dump(mode="json") | {"name": ""} == best | {"name": ""}


def load_recipe_text(recipe: str, folder: Path, trained: dict[str, Any]) -> ExperimentConfig:
    """Read a winner's recipe, with the data sets and the teacher of a training."""
    (folder / "winner.toml").write_text(recipe)
    names = [f"data.{role}={trained['data'][role]}" for role in ("target", "external")]
    return load_recipe(folder / "winner.toml", [*names, f"teacher={trained['teacher']}"])
