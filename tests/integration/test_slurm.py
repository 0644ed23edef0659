"""The batch script under a real Slurm: Ray over two nodes, and back into the queue when the nodes are wanted."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.manifests.render import render
from pipelines.cluster_file import read_description
from tests.integration.slurm_cluster import missing, slurm, state_of

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "")]

ROOT = Path(__file__).parents[2]
PATIENCE_S = 900
ACROSS_NODES = """
import os, time
import ray

@ray.remote(num_cpus=2)
def where():
    time.sleep(2)
    return ray.get_runtime_context().get_node_id()

ray.init(log_to_driver=False)
print("worked on", len(set(ray.get([where.remote(), where.remote()]))), "nodes")
print("token in the environment:", "RAY_AUTH_TOKEN" in os.environ)
"""
ENDS_WITH_A_CHECKPOINT = """
import signal, sys, time
from pathlib import Path
import ray

checkpoint = Path("checkpoint")

def end(*_):
    time.sleep(5)  # a checkpoint takes its time
    checkpoint.write_text("half of it")
    sys.exit(1)

ray.init(log_to_driver=False)
signal.signal(signal.SIGTERM, end)  # after Ray's own
if checkpoint.exists():
    print("goes on from", checkpoint.read_text())
    sys.exit(7)
print("begins", flush=True)
time.sleep(1000)
"""


@pytest.fixture(scope="module")
def environment(service_folder: Path) -> Iterator[dict[str, str]]:
    with slurm(service_folder / "slurm") as found:
        yield found


@pytest.fixture
def submit(environment: dict[str, str], tmp_path: Path) -> Callable[..., str]:
    """Render a script that runs some Python, submit it, and return the job's number."""

    def run(code: str, *settings: str) -> str:
        (tmp_path / "work.py").write_text(code)
        path = f'export PATH="{Path(sys.executable).parent}:$PATH" PYTHONPATH="{ROOT}"'
        small = ["workers.min=2", "workers.max=2", "workers.cpus=2", "workers.memory_gib=2", "workers.shm_gib=0.1"]
        own = [f"stores.storage_uri=file://{tmp_path}", "job.command=python work.py", f"slurm.setup=['{path}']"]
        description = read_description(None, ["name=try", *small, *own, "job.time_limit_s=900", *settings])
        script = tmp_path / "job.sh"
        script.write_text(render("slurm", description, ["rlq"]).text)
        command = ["sbatch", "--parsable", str(script)]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
        ).stdout.strip()

    return run


def until(holds: Callable[[], Any], log: Path) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s, log.read_text() if log.exists() else "there is no log"
        time.sleep(0.5)


def test_a_command_has_ray_on_all_nodes_and_nothing_is_left(
    submit: Callable[..., str], environment: dict[str, str], tmp_path: Path
) -> None:
    job = submit(ACROSS_NODES)
    log = tmp_path / f"try-{job}.log"
    until(lambda: state_of(job, environment).get("JobState") in ("COMPLETED", "FAILED"), log)
    told = log.read_text()
    assert state_of(job, environment)["JobState"] == "COMPLETED", told
    assert "2 nodes take work" in told
    assert "worked on 2 nodes" in told
    assert "token in the environment: False" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.sh", log.name, "work.py"], "the token went with it"
    assert not Path(f"/tmp/try-{job}").exists()


def test_a_notice_leads_to_a_checkpoint_and_back_into_the_queue(
    submit: Callable[..., str], environment: dict[str, str], tmp_path: Path
) -> None:
    job = submit(ENDS_WITH_A_CHECKPOINT)
    log = tmp_path / f"try-{job}.log"
    until(lambda: log.exists() and "begins" in log.read_text(), log)
    token = tmp_path / f".try-{job}" / "token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.parent.stat().st_mode & 0o777 == 0o700
    seen = subprocess.run(["ps", "-wweo", "args"], check=True, capture_output=True, text=True).stdout
    assert "gcs_server" in seen
    assert token.read_text().strip() not in seen

    subprocess.run(["scancel", "--batch", "--signal=TERM", job], env=environment, check=True)
    until(lambda: "asking for the nodes again" in log.read_text(), log)
    assert (tmp_path / "checkpoint").read_text() == "half of it", "the command was not waited for"
    until(lambda: state_of(job, environment).get("JobState") == "PENDING", log)
    # Slurm lets a job that comes back wait for two minutes; one that starts in the second of its end is refused.
    subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now+3"], env=environment, check=True)
    until(lambda: state_of(job, environment).get("JobState") in ("COMPLETED", "FAILED"), log)
    assert "goes on from half of it" in log.read_text()
    ended = state_of(job, environment)
    assert ended["Restarts"] == "1"
    assert (ended["JobState"], ended["ExitCode"]) == ("FAILED", "7:0"), "what fails by itself does not come back"
