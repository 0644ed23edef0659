"""Nodes that come and go, on a real Ray cluster: a control without CPUs and nodes beside it, all on this machine.

Commands and drivers are processes of their own, since this one may be connected to the cluster of other tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray._raylet import GcsClient
from ray.autoscaler._private.constants import AUTOSCALER_RESOURCE_REQUEST_CHANNEL
from ray.autoscaler.v2.sdk import get_cluster_resource_state
from ray.cluster_utils import Cluster

pytestmark = pytest.mark.slow

PATIENCE_S = 180
DRIVER = """
import sys, time
from pathlib import Path
import ray

@ray.remote(num_cpus=1)
def work(folder):
    (folder / "begun").touch()
    while not (folder / "enough").exists():
        time.sleep(0.1)
    return ray.get_runtime_context().get_node_id()

ray.init(log_to_driver=False)
print(ray.get(work.remote(Path(sys.argv[1]))))
"""


@pytest.fixture(scope="module")
def nodes(service_folder: Path) -> Iterator[Cluster]:
    """The control; every test adds nodes of its own."""
    arguments = {"num_cpus": 0, "temp_dir": str(service_folder / "m"), "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=arguments)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def start(nodes: Cluster) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a process that knows the cluster; `rlq …`, or a driver with a folder."""
    environment = {**os.environ, "RAY_ADDRESS": nodes.address, "PYTHONPATH": os.pathsep.join(sys.path)}
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        code = ["-c", DRIVER, *arguments[1:]] if arguments[0] == "driver" else ["-m", "pipelines.cli", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen([sys.executable, *code], env=environment, **pipes))  # type: ignore[call-overload]
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def until(holds: Callable[[], Any], *under_way: subprocess.Popen[str]) -> None:
    """Wait until something holds; what is under way must not end before."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        for process in under_way:
            assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline_s, "this takes too long"
        time.sleep(0.1)


def result(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    return out


def wishes(nodes: Cluster) -> str:
    """What the autoscaler is asked for, by the old and the new way of asking."""
    client = GcsClient(address=nodes.address)
    old = client.internal_kv_get(AUTOSCALER_RESOURCE_REQUEST_CHANNEL, None)
    constraints = get_cluster_resource_state(client).cluster_resource_constraints
    new = "".join(str(request) for wish in constraints for request in wish.resource_requests)
    return new + ("" if old in (None, b"[]") else old.decode())


def alive(nodes: Cluster) -> list[str]:
    return [node["NodeID"] for node in nodes.global_state.node_table() if node["Alive"]]


def test_a_machine_without_a_node_has_nothing_to_leave(nodes: Cluster, start: Callable[..., Any]) -> None:
    left = json.loads(result(start("cluster", "leave", "--within-s", "60", "--json")))
    assert left == {"left": []}, "the control's node cannot leave"
    assert alive(nodes) == [nodes.head_node.node_id]


def test_nodes_are_asked_for_and_waited_for(nodes: Cluster, start: Callable[..., Any]) -> None:
    first = nodes.add_node(num_cpus=2)
    short = start("cluster", "wait", "--nodes", "2", "--timeout-s", "0")
    _, err = short.communicate(timeout=PATIENCE_S)
    assert short.returncode == 1
    assert "error: 1 of 2 nodes with 1 CPUs and 0 GPUs have come within 0 s" in err, "the control's node does not count"

    waiting = start("cluster", "wait", "--nodes", "2", "--cpus", "1", "--json")
    until(lambda: "CPU" in wishes(nodes), waiting)
    second = nodes.add_node(num_cpus=1)
    assert json.loads(result(waiting)) == {"nodes": 2}
    assert wishes(nodes) == "", "a wish that stays keeps nodes for ever"
    for node in (first, second):
        nodes.remove_node(node)


def test_work_leaves_a_machine_that_is_taken_back(nodes: Cluster, start: Callable[..., Any], tmp_path: Path) -> None:
    node = nodes.add_node(num_cpus=1)
    work = start("driver", str(tmp_path))
    until((tmp_path / "begun").exists, work)
    leaving = start("cluster", "leave", "--within-s", "300", "--json")
    until(nodes.global_state.get_draining_nodes, leaving, work)
    assert list(nodes.global_state.get_draining_nodes()) == [node.node_id]
    deadline_s = nodes.global_state.get_draining_nodes()[node.node_id] / 1000
    assert 0 < deadline_s - time.time() < 300
    assert leaving.poll() is None, "it waits for the work"

    (tmp_path / "enough").touch()
    assert result(work).split()[-1] == node.node_id, "the work is not cut off"
    assert json.loads(result(leaving)) == {"left": [node.node_id]}
    assert alive(nodes) == [nodes.head_node.node_id]


def test_the_time_is_not_passed(nodes: Cluster, start: Callable[..., Any], tmp_path: Path) -> None:
    node = nodes.add_node(num_cpus=1)
    until((tmp_path / "begun").exists, start("driver", str(tmp_path)))
    left = json.loads(result(start("cluster", "leave", "--within-s", "2", "--json")))
    assert left == {"left": [node.node_id]}
    assert not (tmp_path / "enough").exists()


def test_a_cluster_that_is_not_there_is_named() -> None:
    environment = {**os.environ, "RAY_ADDRESS": "127.0.0.1:1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "pipelines.cli", "cluster", "wait", "--nodes", "1"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert ended.returncode == 1
    assert "error: no Ray cluster answers at '127.0.0.1:1'" in ended.stderr
