"""What is printed: the same for the same description, with a head that says how it was made, and never a secret."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cluster.manifests.render import Target, render
from pipelines.cli import main
from pipelines.cluster_file import read_description

AWS_NEEDS = ("aws.ami=ami-0123456789abcdef0", 'aws.security_group_ids=["sg-0123456789abcdef0"]')
TARGETS: tuple[Target, ...] = ("kuberay", "aws", "slurm")
SECRETS = {
    "RAY_AUTH_TOKEN": "tokentokentokentokentokentoken42",
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY",
    "MLFLOW_TRACKING_PASSWORD": "a-password-of-mlflow",
}


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["rlq", "cluster", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("target", TARGETS)
def test_the_same_description_gives_the_same_text(target: Target) -> None:
    texts = {render(target, read_description(None, AWS_NEEDS), ["rlq"]).text for _ in range(2)}
    assert len(texts) == 1


@pytest.mark.parametrize("target", TARGETS)
def test_no_secret_of_the_environment_comes_in(
    target: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "token").write_text(SECRETS["RAY_AUTH_TOKEN"])
    settings = [
        *AWS_NEEDS,
        "secrets.file=~/secrets.env",
        f"secrets.token_file={tmp_path / 'token'}",
        "workers.spot=true",
    ]
    assert call(monkeypatch, "render", "--target", target, *settings) == 0
    text = capsys.readouterr().out
    assert len(text) > 1000
    assert [name for name, value in SECRETS.items() if value in text] == []


def test_prints_what_kubectl_takes_and_says_how_it_was_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "render", "--target", "kuberay", "workers.max=2", "job.command=rlq demo") == 0
    printed = capsys.readouterr()
    assert "`rlq cluster render --target kuberay workers.max=2 'job.command=rlq demo'`" in printed.out.splitlines()[0]
    assert "secrets rlq-ray-token, rlq-s3, rlq-mlflow" in printed.out
    assert printed.err == ""


def test_writes_a_file_that_can_be_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert call(monkeypatch, "render", "--target", "slurm", "name=mine", "--out", str(tmp_path / "new")) == 0
    path = tmp_path / "new" / "mine-slurm.sh"
    assert path.read_text().startswith("#!/bin/bash\n# Made by rlq-ray ")
    assert path.stat().st_mode & 0o111
    assert f"wrote {path}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--target", "nomad"), "there is no target 'nomad': choose one of kuberay, aws, slurm"),
        (("--target", "aws"), "aws.ami is missing"),
        (("--target", "slurm", "workers.mn=1"), "did you mean 'min'?"),
        (("--target", "slurm", "--out", "/proc/none"), "--out: cannot write /proc/none"),
    ],
)
def test_refuses_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert call(monkeypatch, "render", *arguments) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
