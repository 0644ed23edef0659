"""The command as a user calls it: one clear line for every wrong step, and nothing half-written."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.cli import main


def rlq(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@dataclass(frozen=True)
class Answer:
    """What a call in this process gave; `rlq` starts a process of its own, which takes seconds."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, ray_cluster: object
) -> Callable[..., Answer]:
    def run(*arguments: str) -> Answer:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["rlq", *arguments])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        captured = capsys.readouterr()
        return Answer(status, captured.out, captured.err)

    return run


def test_says_what_there_is(tmp_path: Path) -> None:
    answer = rlq("--help", folder=tmp_path)
    assert answer.returncode == 0
    for command in ("demo", "train", "plan", "evaluate", "report", "ui", "people", "data", "degrade"):
        assert command in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["nonsense"], 2, ["nonsense", "--help"]),
        (["train", "nope"], 2, ["'nope'", "demo_rlq"]),
        (["train", "base"], 2, ["data.target", "missing"]),
        (["train", "base", "data.target=nowhere"], 2, ["no data set at", "nowhere", "rlq data ingest"]),
        (["train", "base", "data.target=x", "loss.wieghts.pose=1"], 2, ["loss.wieghts", "weights"]),
        (["train", "base", "data.target=x", "train.epochs=many"], 2, ["train.epochs", "'many'"]),
        (["train", "rlq", "data.target=x"], 2, ["schedule.tad_steps", "data.external"]),
        (["evaluate", "nobody"], 2, ["'nobody'", "run"]),
        (["evaluate", "some/folder"], 2, ["no checkpoint at", "some/folder"]),
        (["evaluate"], 2, ["--features"]),
        (["evaluate", "--features", "nothing.npz"], 2, ["nothing.npz"]),
        (["people", "render", "--preset", "huge", "--out", "p"], 2, ["'huge'", "small"]),
        (["data", "ingest", "--layout", "ltcc", "--root", "nowhere", "--to", "t"], 2, ["nowhere"]),
        (["data", "ingest", "--layout", "lttc", "--root", ".", "--to", "t"], 2, ["'lttc'", "ltcc"]),
        (["data", "ingest", "--layout", "ltcc", "--root", ".", "--to", "t", "--gender", "g.csv"], 2, ["g.csv"]),
        (["data", "show", "nowhere", "--out", "s.png"], 2, ["no data set at"]),
        (["degrade", "preview", "nothing.png", "--out", "d.png"], 2, ["nothing.png"]),
        (["people", "render", "--preset", "tiny", "--out", "file/people"], 1, ["cannot write", "file/people"]),
        (["ui"], 2, ["no runs yet", "rlq demo"]),
        (["train", "base", "data.target=gs://bucket/x"], 2, ["gs://bucket/x", "s3://"]),
        (["plan", "nope"], 2, ["no recipe or sweep 'nope'", "tiny_rlq", "step-ratio"]),
        (["plan", "base"], 2, ["data.target", "missing"]),
        (["plan", "base", "data.target=nowhere"], 2, ["no data set at", "nowhere"]),
        (["plan", "full", "data.target=x"], 2, ["'full' has no external data", "data.external"]),
        (["plan", "smoke", "seed=3"], 2, ["seed", "seeds.values"]),
        (["plan", "smoke", "schedule.tad_steps=3"], 2, ["the space searches schedule.tad_steps"]),
        (["report", "nobody", "--out", "r.html"], 2, ["'nobody'", "there are none yet", "--store"]),
        (["report", "nobody", "--out", "r.png"], 2, ["r.png", ".html"]),
        (["report", "nobody", "--out", "r.html", "--kind", "trial"], 2, ["trial", "run"]),
        (["report", "nobody", "--out", "r.html", "--kind", "sweep"], 2, ["no sweep 'nobody'"]),
        (["report", "nobody", "--out", "file/r.html"], 1, ["file", "--out"]),
    ],
)
def test_a_wrong_step_gives_one_line_and_leaves_nothing(
    arguments: list[str], status: int, words: list[str], tmp_path: Path, call: Callable[..., Answer]
) -> None:
    (tmp_path / "file").write_text("in the way")
    answer = call(*arguments)
    assert answer.returncode == status, answer.stderr
    errors = [line for line in answer.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in answer.stderr
    for word in words:
        assert word in errors[0]
    assert not answer.stdout
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    answer = rlq("--debug", "train", "nope", folder=tmp_path)
    assert answer.returncode != 0
    assert "Traceback" in answer.stderr


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path, tiny_people, call: Callable[..., Answer]) -> None:
    (tmp_path / "file").write_text("in the way")
    answer = call(
        "data", "ingest", "--layout", "ltcc", "--root", str(tiny_people.folders["target"]), "--to", "file/shards"
    )
    assert answer.returncode == 1
    assert "cannot write" in answer.stderr.splitlines()[-1]
    assert "file/shards" in answer.stderr.splitlines()[-1]


def test_measures_features_of_any_model(tmp_path: Path, call: Callable[..., Answer]) -> None:
    rng = np.random.default_rng(0)
    pid = np.repeat(np.arange(10), 4)
    feat = np.eye(10)[pid] + rng.normal(0, 0.01, (40, 10))
    camera, clothes = np.tile([0, 1, 2, 3], 10), np.tile([0, 1, 0, 1], 10) + 2 * pid
    query, gallery = np.arange(0, 40, 4), np.setdiff1d(np.arange(40), np.arange(0, 40, 4))
    arrays = {}
    for side, rows in (("q", query), ("g", gallery)):
        arrays |= {f"{side}_feat": feat[rows], f"{side}_pid": pid[rows]}
        arrays |= {f"{side}_cam": camera[rows], f"{side}_clothes": clothes[rows]}
    np.savez(tmp_path / "features.npz", **arrays)
    answer = call("evaluate", "--features", "features.npz", "--protocol", "cc", "--json")
    assert answer.returncode == 0, answer.stderr
    scores = json.loads(answer.stdout)["features.npz"]["hq"]
    assert list(scores) == ["cc"]
    assert scores["cc"]["mAP"] == 1
    assert scores["cc"]["queries"] == 10


def test_previews_degradations(tmp_path: Path, call: Callable[..., Answer]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (128, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "person.png")
    answer = call("degrade", "preview", "person.png", "--out", "preview.png")
    assert answer.returncode == 0, answer.stderr
    with Image.open(tmp_path / "preview.png") as sheet:
        assert min(sheet.size) > 300


def test_a_port_in_use_is_named(tmp_path: Path, call: Callable[..., Answer]) -> None:
    (tmp_path / "rlq-data").mkdir()
    (tmp_path / "rlq-data" / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = call("ui", "--port", str(port))
    assert answer.returncode == 1
    assert f"{port}" in answer.stderr.splitlines()[-1]
    assert "another port" in answer.stderr.splitlines()[-1]
