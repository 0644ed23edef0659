"""Commands as jobs of a real Ray cluster that asks for a token, with a real S3 server and a real MLflow server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from cluster.jobs.dashboard import Dashboard, connect
from cluster.processes import free_ports, start_service, wait_until
from rlq_ray.build_stamp import PARTS, package_root
from rlq_ray.distributed.runs import find_run
from rlq_ray.storage import exists, list_files, locate, read_bytes
from rlq_ray.tracking.mlflow_tracker import MlflowStore
from rlq_ray.train.checkpoint import CARD_FILE

pytestmark = pytest.mark.slow

SECRETS = {"MLFLOW_TRACKING_PASSWORD": "mlflow-pAssw0rd-9271", "RLQ_TEST_API_KEY": "another-secret-5530"}
PATIENCE_S = 480


@dataclass
class JobCluster:
    """A Ray head, a checkout whose code is sent to it, and where its runs are written down."""

    folder: Path
    checkout: Path
    address: str
    dashboard: str
    token_file: Path
    store: str
    tracking_uri: str
    secrets: tuple[str, ...]

    @property
    def environment(self) -> dict[str, str]:
        """Of a person who submits; with secrets that must not travel."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "RLQ_", "AWS_"))}
        return {
            **kept,
            **SECRETS,
            "PYTHONPATH": str(self.checkout),
            "RAY_ADDRESS": self.dashboard,
            "RAY_AUTH_TOKEN_PATH": str(self.token_file),
            "RLQ_STACK": "none",
        }

    def rlq(self, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run a command line of the checkout to its end."""
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *words],
            env={**self.environment, **changes},
            cwd=self.folder / "person",
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    def job(self, job_id: str) -> dict[str, object]:
        """Tell how a job stands."""
        listed = json.loads(self.rlq("jobs", "--json").stdout)["jobs"]
        return next(job for job in listed if job["id"] == job_id)

    def run_tags(self, name: str) -> tuple[str, dict[str, str]]:
        """Give the status and the tags of a run."""
        entry = find_run(locate(self.store), name)
        assert entry is not None
        assert entry.mlflow_run_id is not None
        record = MlflowStore(self.tracking_uri).run(entry.mlflow_run_id)
        return record.status, dict(record.tags)


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    command = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """The package as it is here, committed."""
    folder = tmp_path_factory.mktemp("checkout")
    for part in PARTS:
        shutil.copytree(package_root() / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(package_root() / "pyproject.toml", folder / "pyproject.toml")
    (folder / ".gitignore").write_text("__pycache__/\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "as it is")
    return folder


@pytest.fixture(scope="module")
def cluster(service_folder, s3_store, mlflow_server, checkout, tmp_path_factory) -> Iterator[JobCluster]:
    """A head started in a folder with another `rlq_ray`, whose environment alone knows the secrets."""
    folder = service_folder / "jobs"
    (folder / "rlq_ray").mkdir(parents=True)
    (folder / "person").mkdir()
    (folder / "rlq_ray" / "__init__.py").write_text("raise ImportError('this is not what was submitted')\n")
    token_file = folder / "token"
    token_file.write_text(os.urandom(16).hex())
    gcs, dashboard, *others = free_ports(6)
    options = {
        "port": gcs,
        "dashboard-port": dashboard,
        "dashboard-agent-listen-port": others[0],
        "dashboard-agent-grpc-port": others[1],
        "metrics-export-port": others[2],
        "ray-client-server-port": others[3],
        "node-ip-address": "127.0.0.1",
        "dashboard-host": "127.0.0.1",
        "num-cpus": 4,
        "object-store-memory": 200_000_000,
        "temp-dir": folder / "ray",
    }
    environment = {
        **s3_store.environment,
        **SECRETS,
        "MLFLOW_TRACKING_USERNAME": "team",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RLQ_PYTHON": sys.executable,
        "RLQ_JOBS_FOLDER": str(tmp_path_factory.mktemp("jobs")),
        "RLQ_STORAGE": f"{s3_store.uri}/jobs",
        "RLQ_TRACKING_URI": mlflow_server.uri,
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",
    }
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
    start = ["env", "--chdir", str(folder), "--unset=PYTHONPATH", "--unset=RAY_AUTH_TOKEN", *start]
    start += [f"--{name}={value}" for name, value in options.items()]
    head = start_service("the Ray head", start, folder / "head.log", environment)
    found = JobCluster(
        folder=folder,
        checkout=checkout,
        address=f"127.0.0.1:{gcs}",
        dashboard=f"http://127.0.0.1:{dashboard}",
        token_file=token_file,
        store=environment["RLQ_STORAGE"],
        tracking_uri=mlflow_server.uri,
        secrets=(*SECRETS.values(), s3_store.secret_key, token_file.read_text()),
    )
    wait_until(head, lambda: found.rlq("jobs").returncode == 0, PATIENCE_S)
    yield found
    head.stop()


@pytest.fixture(scope="module")
def training(tiny_people) -> list[str]:
    return ["train", "tiny_base", f"data.target={tiny_people.shards['target']}"]


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.3)


def kept_epochs(cluster: JobCluster, name: str) -> list[int]:
    """Epochs whose checkpoints are whole and known to Ray Train; what a stop kept amid an epoch is none of them."""
    runs = locate(cluster.store) / "runs" / name
    if not exists(runs / "checkpoint_manager_snapshot.json"):
        return []
    known = read_bytes(runs / "checkpoint_manager_snapshot.json").decode()
    found = {file.uri.split("/")[-2] for file in list_files(runs, f"/{CARD_FILE}")}
    return sorted(int(name.removeprefix("epoch_")) for name in found if name.startswith("epoch_") and name in known)


def test_a_job_runs_the_commit_and_says_so_everywhere(cluster: JobCluster, training) -> None:
    done = cluster.rlq("submit", "--wait", "--", *training, "--name", "first")
    assert done.returncode == 0, done.stdout + done.stderr
    job_id = done.stdout.splitlines()[0]
    commit = git(cluster.checkout, "rev-parse", "HEAD")
    assert job_id.startswith("train-tiny_base-")
    assert "run first · MLflow" in done.stdout, "the job's output comes here"
    assert commit[:12] in done.stderr
    job = cluster.job(job_id)
    assert (job["state"], job["exit_code"], job["commit"]) == ("succeeded", 0, commit)
    assert "--name first" in str(job["command"])
    status, tags = cluster.run_tags("first")
    assert (status, tags["job"], tags["git.commit"], tags["git.dirty"]) == ("FINISHED", job_id, commit, "False")
    assert tags["package.hash"] == job["package"]
    assert tags["packages.rlq-ray"].endswith(f"+g{commit[:10]}"), "metadata, too, is that of the wheel"
    assert tags["rlq.checkpoint"].startswith("s3://")


def test_the_logs_and_the_list_tell_of_it_later(cluster: JobCluster) -> None:
    listed = cluster.rlq("jobs").stdout
    assert "train tiny_base" in listed
    assert "succeeded" in listed
    job_id = next(word for word in listed.split() if word.startswith("train-tiny_base-"))
    shown, followed = cluster.rlq("logs", job_id), cluster.rlq("logs", job_id, "--follow")
    assert followed.returncode == 0
    assert followed.stdout == shown.stdout
    assert "run first · MLflow" in shown.stdout


def test_a_failing_job_gives_its_exit_status(cluster: JobCluster) -> None:
    done = cluster.rlq("submit", "--wait", "--json", "--", "train", "tiny_base", "data.target=s3://rlq/nowhere")
    told = json.loads(done.stdout)
    assert (done.returncode, told["state"], told["exit_code"]) == (2, "failed", 2)
    assert "error: " in done.stderr


def test_a_stopped_job_closes_its_run_and_goes_on_later(cluster: JobCluster, training) -> None:
    endless = [*training, "train.epochs=1000", "--name", "stopped"]
    submitted = cluster.rlq("submit", "--", *endless)
    assert submitted.returncode == 0, submitted.stderr
    (job_id,) = submitted.stdout.split()
    wait_for(lambda: kept_epochs(cluster, "stopped") != [], "there is no checkpoint")

    again = cluster.rlq("submit", "--", *endless)
    assert again.returncode == 2
    assert f"under way as job {job_id}" in again.stderr
    assert "--again" in again.stderr

    stopped = cluster.rlq("stop", job_id)
    assert (stopped.returncode, stopped.stdout) == (0, f"job {job_id}: stopped\n")
    assert "stopped: submit the same to go on" in cluster.rlq("logs", job_id).stdout
    assert cluster.run_tags("stopped")[0] == "KILLED"
    entry = find_run(locate(cluster.store), "stopped")
    assert entry is not None
    assert entry.state == "stopped"
    last = kept_epochs(cluster, "stopped")[-1]

    epochs = last + 2
    shorter = [*training, f"train.epochs={epochs}", "--name", "stopped", "--resume"]
    resumed = cluster.rlq("submit", "--wait", "--", *shorter)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    status, tags = cluster.run_tags("stopped")
    assert (status, tags["job"]) == ("FINISHED", resumed.stdout.splitlines()[0])
    assert entry.mlflow_run_id is not None
    points = MlflowStore(cluster.tracking_uri).metric_history(entry.mlflow_run_id, "cap/loss")
    steps = [point.step for point in points]
    assert steps.count(0) == 1, "it went on from the checkpoint"
    assert set(steps) >= set(range(3 * epochs))


def test_who_waits_may_leave_and_the_job_goes_on(cluster: JobCluster, training) -> None:
    command = [sys.executable, "-m", "pipelines.cli", "submit", "--wait", "--", *training, "train.epochs=1000"]
    command += ["--name", "left"]
    waiting = subprocess.Popen(
        command,
        env=cluster.environment,
        cwd=cluster.folder / "person",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
    )
    assert waiting.stdout is not None
    job_id = waiting.stdout.readline().strip()
    assert job_id.startswith("train-tiny_base-")
    wait_for(lambda: cluster.job(job_id)["state"] == "running", "it does not run")
    waiting.send_signal(signal.SIGINT)
    _, told = waiting.communicate(timeout=PATIENCE_S)
    assert waiting.returncode == 130
    assert f"job {job_id} goes on" in told
    assert f"rlq stop {job_id}" in told
    assert cluster.job(job_id)["state"] == "running"
    assert cluster.rlq("stop", job_id).returncode == 0


def test_the_same_runs_twice_only_if_told(cluster: JobCluster, training) -> None:
    sleepless = [*training, "train.epochs=1000", "--name", "twice"]
    first = cluster.rlq("submit", "--", *sleepless).stdout.strip()
    second = cluster.rlq("submit", "--again", "--", *sleepless)
    assert (second.returncode, second.stdout.strip()) == (0, f"{first}-2")
    for job_id in (first, f"{first}-2"):
        assert cluster.rlq("stop", job_id).returncode == 0


def test_what_is_not_committed_goes_only_if_told(cluster: JobCluster) -> None:
    file = cluster.checkout / "rlq_ray" / "not_committed.py"
    file.write_text('"""New."""\n')
    try:
        refused = cluster.rlq("submit", "--", "evaluate", "nothing")
        assert refused.returncode == 2
        assert "rlq_ray/not_committed.py" in refused.stderr
        sent = cluster.rlq("submit", "--allow-dirty", "--json", "--", "evaluate", "nothing")
        assert json.loads(sent.stdout)["commit"] == git(cluster.checkout, "rev-parse", "HEAD") + "+"
    finally:
        file.unlink()


def test_refuses_without_the_token(cluster: JobCluster) -> None:
    refused = cluster.rlq("jobs", RAY_AUTH_TOKEN="wrong")
    assert refused.returncode == 1
    assert "refuses its token" in refused.stderr


@pytest.mark.parametrize("command", ["train", "evaluate", "data"])
def test_a_worker_with_other_code_refuses_to_work(
    cluster: JobCluster, training, tiny_people, command, tmp_path
) -> None:
    """The driver runs what was submitted, and its workers a copy in which a file was changed."""
    tampered = tmp_path / "tampered"
    shutil.copytree(cluster.checkout, tampered, ignore=shutil.ignore_patterns(".git"))
    with (tampered / "rlq_ray" / "train" / "loop.py").open("a") as file:
        file.write("\n# changed\n")
    commands = {
        "train": [*training, "--name", "tampered"],
        "evaluate": ["evaluate", "first", "--data", tiny_people.shards["target"]],
        "data": ["data", "check", tiny_people.shards["target"]],
    }
    script = f"""
import ray, sys
from rlq_ray.build_stamp import content_hash
import os
os.environ["RLQ_PACKAGE_HASH"] = content_hash()
ray.init({cluster.address!r}, runtime_env={{"working_dir": {str(tampered)!r}}}, log_to_driver=False)
sys.argv = ["rlq", *{commands[command]!r}]
from pipelines.cli import main
main()
"""
    places = {"RLQ_STORAGE": cluster.store, "RLQ_TRACKING_URI": cluster.tracking_uri, "RAY_AUTH_MODE": "token"}
    keys = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    environment = {**cluster.environment, **places, **keys, "RAY_ADDRESS": cluster.address}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "imports other code than was submitted" in error
    assert "working_dir_files" in error, "it names the folder on the node"


def test_a_node_whose_copy_was_changed_refuses_the_job(cluster: JobCluster, training) -> None:
    """Ray keeps what it unpacked for later jobs with the same code."""
    stamps = (cluster.folder / "ray").glob("session_2*/runtime_resources/working_dir_files/*/rlq_ray/build_stamp.json")
    (unpacked,) = [path.parents[1] for path in stamps if not json.loads(path.read_text())["dirty"]]
    file = unpacked / "tuning" / "__init__.py"
    kept = file.read_text()
    file.write_text(f"{kept}# changed\n")
    try:
        refused = cluster.rlq("submit", "--wait", "--", *training, "--name", "unsafe")
    finally:
        file.write_text(kept)
    assert refused.returncode == 1
    assert "error: the job cannot begin: node" in refused.stdout
    assert str(unpacked) in refused.stdout


def test_no_secret_is_in_the_open(cluster: JobCluster) -> None:
    """The last of this file: what all those jobs left."""
    shown = {"command line": cluster.rlq("jobs", "--json").stdout}
    client = connect(Dashboard(cluster.dashboard, cluster.token_file.read_text()))
    shown["jobs of Ray"] = json.dumps([job.model_dump() for job in client.list_jobs()], default=str)
    assert "RLQ_PACKAGE_HASH" in shown["jobs of Ray"], "their environment is among it"
    store = MlflowStore(cluster.tracking_uri)
    for run in store.find_runs(store.ensure_experiment("rlq")):
        shown[f"run {run.name}"] = json.dumps([dict(run.params), dict(run.tags)])
    assert "run first" in shown
    logs = [path for path in (cluster.folder / "ray").glob("session_2*/logs/**/*") if path.is_file()]
    assert any("job-driver-" in path.name for path in logs)
    shown |= {str(path): path.read_text(errors="replace") for path in logs}
    found = [place for place, text in shown.items() for secret in cluster.secrets if secret in text]
    assert found == []
