"""The batch script for Slurm: clean bash with the options that it was asked for. Slurm itself runs it elsewhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rlq_ray.errors import UsageError

SHELLCHECK = Path(sys.executable).with_name("shellcheck")
SETTINGS: dict[str, tuple[str, ...]] = {
    "default": (),
    "command": ("job.command=rlq train base --name 'a b' --resume-or-begin",),
    "GPUs": ("workers.gpus=4", "slurm.gpu_kind=a100", "workers.min=4"),
    "secrets": ("secrets.file=~/.config/rlq/my secrets.env",),
    "options": ('slurm.options=["--exclusive", "--constraint=avx512"]', "slurm.partition=gpu", "slurm.account=it"),
}
Script = Callable[..., str]


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=list(SETTINGS))
def test_is_clean_bash(script: Script, settings: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "job.sh"
    path.write_text(script(*settings))
    subprocess.run(["bash", "-n", str(path)], check=True)
    checked = subprocess.run([SHELLCHECK, "--severity=style", str(path)], check=False, capture_output=True, text=True)
    assert checked.stdout == ""


def test_shellcheck_would_find_a_slip(tmp_path: Path) -> None:
    path = tmp_path / "slip.sh"
    path.write_text("#!/bin/bash\nrm -rf $folder/*\n")
    assert subprocess.run([SHELLCHECK, str(path)], check=False, capture_output=True).returncode == 1


def options_of(text: str) -> dict[str, str]:
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH ")]
    return dict(line.partition("=")[::2] for line in lines)


def test_asks_for_what_the_description_says(script: Script) -> None:
    options = options_of(script("name=people", "workers.min=2", "workers.memory_gib=31.5", "job.time_limit_s=93784"))
    assert options["job-name"] == "people"
    assert options["nodes"] == "2-4"
    assert options["cpus-per-task"] == "4"
    assert options["mem"] == "32256M"
    assert options["time"] == "1-02:03:04"
    assert options["signal"] == "B:TERM@120"
    assert "requeue" in options
    assert "gres" not in options


def test_nodes_gpus_and_places(script: Script) -> None:
    options = options_of(script(*SETTINGS["GPUs"], *SETTINGS["options"]))
    assert (options["nodes"], options["gres"]) == ("4", "gpu:a100:4")
    assert (options["partition"], options["account"]) == ("gpu", "it")
    assert "qos" not in options
    assert options["constraint"] == "avx512"
    assert "exclusive" in options
    assert options_of(script("workers.gpus=1"))["gres"] == "gpu:1"
    assert options_of(script())["nodes"] == "1-4"


def test_options_stand_before_the_first_command(script: Script) -> None:
    """What comes later, Slurm does not read."""
    lines = script(*SETTINGS["options"]).splitlines()
    first_command = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert max(number for number, line in enumerate(lines) if line.startswith("#SBATCH")) < first_command


def test_variables_are_quoted(script: Script, tmp_path: Path) -> None:
    text = script("stores.storage_uri=file:///scratch/it's $HOME")
    line = next(line for line in text.splitlines() if line.startswith("export RLQ_STORAGE="))
    told = subprocess.run(["bash", "-c", f'{line}; echo "$RLQ_STORAGE"'], check=True, capture_output=True, text=True)
    assert told.stdout == "file:///scratch/it's $HOME\n"


def test_refuses_an_option_that_is_none(script: Script) -> None:
    with pytest.raises(UsageError, match=r"slurm\.options has '--exclusive; rm': write --name or --name=value"):
        script('slurm.options=["--exclusive; rm"]')
