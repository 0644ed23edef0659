import json
import subprocess

import pytest

from rlq_ray.build_stamp import BuildStamp, content_hash
from rlq_ray.tracking import describe_code, describe_environment, environment, flatten_environment
from rlq_ray.tracking.environment import git_state


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    (tmp_path / "a.txt").write_text("a")
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    for arguments in (["init", "-q"], ["add", "a.txt"], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    return tmp_path


def test_describes_versions_and_machine():
    described = describe_environment()
    assert described["packages"]["torch"].startswith("2.")
    assert described["cpus"] >= 1
    assert json.loads(json.dumps(described)) == described


def test_knows_a_clean_checkout_from_a_changed_one(checkout):
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, check=True, capture_output=True, text=True)
    assert git_state(checkout) == {"commit": head.stdout.strip(), "dirty": False}
    (checkout / "a.txt").write_text("b")
    assert git_state(checkout)["dirty"]


def test_knows_no_commit_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) is None


def test_flattens_to_dotted_names_without_the_unknown():
    nested = {"python": "3.11", "gpus": [], "git": None, "packages": {"torch": "2.14"}, "cpus": 2, "names": ["a", "b"]}
    assert flatten_environment(nested) == {"python": "3.11", "packages.torch": "2.14", "cpus": "2", "names": "a, b"}


def test_the_stamp_tells_the_commit_of_code_that_was_sent(monkeypatch):
    stamp = BuildStamp("0.1.0", "c0ffee", dirty=True, content_hash="ab")
    monkeypatch.setattr(environment, "read_stamp", lambda: stamp)
    monkeypatch.setenv("RLQ_JOB_ID", "train-1")
    described = describe_code()
    assert described["git"] == {"commit": "c0ffee", "dirty": True}
    assert described["package"] == {"hash": content_hash()}
    assert described["job"] == "train-1"
