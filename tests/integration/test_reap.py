"""What a killed driver leaves in a cluster is found and freed; what belongs to others stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CLUSTER = """
    import sys, threading
    from pathlib import Path
    from cluster.ray_local import session
    with session(num_cpus=3, temp_dir=Path(sys.argv[1]), has_dashboard=True) as found:
        print(found.address, flush=True)
        sys.stdin.read()
"""
DRIVER = """
    import os, sys, time
    import ray
    from ray.util.placement_group import placement_group
    ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False)

    @ray.remote(num_cpus=0)
    class Helper:
        def take(self, cpus):
            self.group = placement_group([{"CPU": cpus}])
            ray.get(self.group.ready())

    own = Helper.options(lifetime="detached", name=sys.argv[1], namespace="tests").remote()
    ray.get(own.take.remote(1))
    print("taken", flush=True)
    sys.stdin.read()
"""


def start(code: str, argument: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), argument]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def environment(tmp_path: Path, service_folder: Path) -> Iterator[dict[str, str]]:
    """A cluster with a dashboard, and the variables that lead to it."""
    base = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(32).hex()}
    cluster = start(CLUSTER, str(service_folder / "reap"), base)
    assert cluster.stdout is not None
    yield base | {"RAY_ADDRESS": cluster.stdout.readline().strip()}
    cluster.communicate("", timeout=60)


def reap(environment: dict[str, str], *options: str) -> list[dict[str, object]]:
    command = [sys.executable, "-m", "pipelines.cli", "reap", "--json", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_what_a_killed_driver_left_is_freed_and_nothing_else(environment: dict[str, str]) -> None:
    alive, dead = (start(DRIVER, name, environment) for name in ("alive", "dead"))
    for driver in (alive, dead):
        assert driver.stdout is not None
        assert driver.stdout.readline().strip() == "taken"
    assert reap(environment, "--dry-run") == []
    dead.kill()
    dead.wait()
    (left,) = reap(environment, "--dry-run")
    assert left["held"] == {"CPU": 1.0}
    assert str(left["command"]).endswith(" dead")
    assert reap(environment) == [left], "a dry run frees nothing"
    assert reap(environment) == []
    alive.communicate("", timeout=60)


def test_says_which_cluster_is_meant_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "reap"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "error: no Ray cluster is named: give --address host:port, or set RAY_ADDRESS\n"
