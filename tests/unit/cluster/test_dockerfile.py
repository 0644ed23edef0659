"""The image's recipe, as far as it can be held without building it: its parts exist, and it does not run as root."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
from pathlib import Path

from cluster.manifests.description import Kubernetes
from cluster.manifests.pods import HOME

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "cluster" / "Dockerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")


def steps() -> list[tuple[str, str]]:
    """Instructions and what follows them, with continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], " ".join(line.split()[1:])) for line in text.splitlines() if line.strip()]


def of(kind: str) -> list[str]:
    return [rest for instruction, rest in steps() if instruction == kind]


def test_hadolint_finds_nothing() -> None:
    checked = subprocess.run([HADOLINT, str(DOCKERFILE)], check=False, capture_output=True, text=True)
    assert checked.stdout == ""
    slip = subprocess.run([HADOLINT, "-"], input="FROM python:latest\n", check=False, capture_output=True, text=True)
    assert "DL3007" in slip.stdout


def test_every_source_exists_and_is_let_through() -> None:
    ignored = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignored
    let_through = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = [source for rest in of("COPY") if not rest.startswith("--from") for source in rest.split()[:-1]]
    assert {"rlq_ray", "pipelines", "tuning", "cluster", "constraints.txt"} <= set(copied)
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(fnmatch.fnmatch(source, pattern) for pattern in let_through), source


def test_the_base_is_pinned_and_both_variants_are_built_from_it() -> None:
    arguments = dict(rest.partition("=")[::2] for rest in of("ARG"))
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", arguments["BASE"])
    assert [rest.split()[0] for rest in of("FROM")] == ["${BASE}", "${BASE}"]
    script = DOCKERFILE.read_text()
    for name in set(arguments) - {"BASE"}:
        assert re.search(rf"\$\{{?{name}", script), f"{name} is declared and never used"


def test_what_is_installed_is_what_the_constraints_name() -> None:
    installs = [part for rest in of("RUN") for part in re.split(r"&&|;;", rest) if "pip install" in part]
    assert len(installs) == 3
    assert all("-c constraints.txt" in install or "--no-deps" in install for install in installs)


def test_runs_as_the_user_whom_kubernetes_expects() -> None:
    assert of("USER") == [f"{Kubernetes().user_id}:{Kubernetes().user_id}"]
    assert of("WORKDIR")[-1] == HOME
    last_of = {instruction: number for number, (instruction, _) in enumerate(steps())}
    assert last_of["USER"] > last_of["RUN"]
    assert f"--home-dir {HOME}" in " ".join(of("RUN"))


def test_holds_no_secret() -> None:
    for name in ("ARG", "ENV"):
        assert not re.search(r"KEY|PASSWORD|SECRET|TOKEN", " ".join(of(name)))
