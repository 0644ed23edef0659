"""The parts of the local stack that need no server: who is found where, who is ended, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.processes import free_ports
from cluster.stack import running
from cluster.stack.card import StackCard, read_credentials, read_stack, stack_folder, write_stack
from cluster.stack.keeper import ALREADY_RUNNING
from cluster.stack.keys import make_keys
from cluster.stack.ports import pick
from cluster.stack.servers import Server, servers_of
from cluster.stack.settings import Wishes, check_settings, choose_settings, read_settings, write_settings
from cluster.stack.systemd import as_script, units
from pipelines.stack_use import keep_login_for, take_up_stack
from rlq_ray.errors import ServiceError, UsageError

WAIT_S = 60.0


def until(is_so: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline_s, "it did not come about"
        time.sleep(0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a stack, with keys."""
    for part in ("run", "logs"):
        (tmp_path / "stack" / part).mkdir(parents=True)
    make_keys(tmp_path / "stack")
    return tmp_path / "stack"


@pytest.fixture
def card(folder: Path) -> Iterator[StackCard]:
    """Of a stack at whose addresses somebody listens."""
    with ExitStack() as stack:
        ports = []
        for _ in range(3):
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            ports.append(listener.getsockname()[1])
        ray, s3, mlflow = ports
        made = StackCard(
            folder=folder,
            ray_address=f"127.0.0.1:{ray}",
            dashboard_url="http://127.0.0.1:1",
            s3_endpoint=f"http://127.0.0.1:{s3}",
            s3_region="us-east-1",
            storage_uri="s3://rlq",
            tracking_uri=f"http://127.0.0.1:{mlflow}",
            metrics_url="http://127.0.0.1:2/metrics",
        )
        write_stack(made)
        yield made


class TestWhereAStackIs:
    def test_the_card_is_read_back(self, card):
        assert read_stack(card.folder) == card

    def test_there_is_none_where_none_was_started(self, tmp_path):
        assert read_stack(tmp_path) is None
        assert read_stack(tmp_path / "missing") is None
        assert read_stack(None) is None

    def test_a_damaged_card_names_the_mend(self, card):
        (card.folder / "stack.json").write_text('{"ray_address": "x"}')
        with pytest.raises(ServiceError, match=r"damaged.*rlq down"):
            read_stack(card.folder)

    def test_the_folder_is_that_of_the_working_directory_unless_named(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert stack_folder({}) == tmp_path / "rlq-data" / "stack"
        assert stack_folder({"RLQ_STACK": "/else/where"}) == Path("/else/where")
        assert stack_folder({"RLQ_STACK": "none"}) is None


class TestUseOfAStack:
    def test_an_empty_environment_gets_all_of_it(self, card):
        environment = {"RLQ_STACK": str(card.folder), "RAY_AUTH_TOKEN": "another cluster's"}
        take_up_stack(environment)
        keys = read_credentials(card.credentials_path)
        assert environment["RAY_ADDRESS"] == card.ray_address
        assert environment["RAY_AUTH_TOKEN_PATH"] == str(card.token_path)
        assert "RAY_AUTH_TOKEN" not in environment
        assert environment["RLQ_STORAGE"] == "s3://rlq"
        assert environment["AWS_ENDPOINT_URL"] == card.s3_endpoint
        assert environment["AWS_SECRET_ACCESS_KEY"] == keys["AWS_SECRET_ACCESS_KEY"]
        assert environment["RLQ_TRACKING_URI"] == card.tracking_uri
        assert environment["MLFLOW_TRACKING_PASSWORD"] == keys["MLFLOW_TRACKING_PASSWORD"]

    def test_what_the_environment_names_stays(self, card):
        own = {
            "RLQ_STACK": str(card.folder),
            "RAY_ADDRESS": "head:6379",
            "RLQ_STORAGE": "/data",
            "MLFLOW_TRACKING_URI": "http://team",
            "AWS_PROFILE": "team",
        }
        environment = dict(own)
        take_up_stack(environment)
        assert environment == own

    def test_another_s3_is_refused_since_the_workers_do_not_know_it(self, card):
        with pytest.raises(UsageError, match=r"AWS_PROFILE names another S3.*RLQ_STACK=none"):
            take_up_stack({"RLQ_STACK": str(card.folder), "AWS_PROFILE": "team"})

    def test_its_own_keys_in_the_environment_are_no_other_s3(self, card):
        environment = {"RLQ_STACK": str(card.folder), **card.s3_environment()}
        take_up_stack(environment)
        assert environment["RLQ_STORAGE"] == "s3://rlq"

    def test_a_dead_server_is_named_instead_of_another_place_taken(self, folder, card):
        dead = free_ports(1)[0]
        fields = json.loads((folder / "stack.json").read_text()) | {"tracking_uri": f"http://127.0.0.1:{dead}"}
        (folder / "stack.json").write_text(json.dumps(fields))
        with pytest.raises(ServiceError, match=rf"MLflow \(http://127.0.0.1:{dead}\).*rlq up"):
            take_up_stack({"RLQ_STACK": str(folder)})

    def test_nothing_changes_without_a_stack(self, tmp_path):
        environment = {"RLQ_STACK": str(tmp_path)}
        take_up_stack(environment)
        assert environment == {"RLQ_STACK": str(tmp_path)}

    def test_its_login_is_not_taken_to_another_server(self, card):
        environment = {"RLQ_STACK": str(card.folder)}
        take_up_stack(environment)
        keep_login_for(card.tracking_uri, environment)
        assert "MLFLOW_TRACKING_PASSWORD" in environment
        keep_login_for("https://elsewhere", environment)
        assert "MLFLOW_TRACKING_PASSWORD" not in environment


class TestKeys:
    def test_only_the_owner_can_read_them(self, folder):
        for name in ("credentials.env", "ray_token"):
            assert (folder / name).stat().st_mode & 0o777 == 0o600

    def test_they_are_made_once(self, folder):
        before = (folder / "credentials.env").read_text(), (folder / "ray_token").read_text()
        assert not make_keys(folder)
        assert ((folder / "credentials.env").read_text(), (folder / "ray_token").read_text()) == before

    def test_loosened_permissions_are_mended(self, folder):
        (folder / "ray_token").chmod(0o644)
        make_keys(folder)
        assert (folder / "ray_token").stat().st_mode & 0o777 == 0o600


class TestPorts:
    @pytest.fixture
    def taken(self) -> Iterator[int]:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            yield listener.getsockname()[1]

    def test_a_usual_port_that_is_taken_is_replaced_and_its_holder_named(self, taken):
        notes: list[str] = []
        assert pick("MLflow", None, taken, notes) != taken
        assert f"pid {os.getpid()}" in notes[0]

    def test_a_port_that_was_asked_for_and_is_taken_is_refused(self, taken):
        with pytest.raises(ServiceError, match=rf"port {taken}: .*pid {os.getpid()}.*give another"):
            pick("MLflow", taken, 5000, [])

    def test_those_of_last_time_are_taken_again(self, folder):
        wishes = Wishes(*free_ports(4), num_cpus=3)
        first = choose_settings(folder, wishes, [])
        write_settings(folder, first)
        assert read_settings(folder) == first
        again = choose_settings(folder, Wishes(), [])
        assert (again.ray[:2], again.s3[0], again.mlflow) == (first.ray[:2], first.s3[0], first.mlflow)

    def test_no_port_is_given_twice(self, folder):
        settings = choose_settings(folder, Wishes(*free_ports(4)), [])
        ports = [port for key in ("ray", "s3", "mlflow") for port in settings.ports_of(key)]
        assert len(set(ports)) == len(ports) == 16
        with pytest.raises(ServiceError, match="one port"):
            choose_settings(folder, Wishes(mlflow_port=settings.mlflow, s3_port=settings.mlflow), [])

    def test_a_running_stack_is_not_moved(self, folder):
        settings = choose_settings(folder, Wishes(*free_ports(4)), [])
        check_settings(settings, Wishes(mlflow_port=settings.mlflow), dead=["mlflow"])
        with pytest.raises(ServiceError, match=r"mlflow port.*rlq down"):
            check_settings(settings, Wishes(mlflow_port=settings.mlflow + 1), dead=[])

    def test_a_dead_server_whose_port_was_taken_names_the_holder(self, folder, taken):
        settings = choose_settings(folder, Wishes(*free_ports(4)), [])
        with pytest.raises(ServiceError, match=rf"{taken}.*pid {os.getpid()}.*rlq down"):
            check_settings(replace(settings, mlflow=taken), Wishes(), dead=["mlflow"])


FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
subprocess.Popen(["sh", "-c", "setsid sleep 1000 & echo $! > orphan"]).wait()
open("child", "w").write(str(child.pid))
print("x" * 100_000, flush=True)
time.sleep(1000)
"""
"""A server that leaves its process group, and whose grandchild loses its parent."""


def test_jobs_are_run_by_the_python_that_started_the_stack(folder):
    """Its environment may not be activated, so that the shell's `python` is another."""
    (ray,) = [server for server in servers_of(folder, choose_settings(folder, Wishes(), [])) if server.key == "ray"]
    assert ray.environment["RLQ_PYTHON"] == sys.executable


class TestProcesses:
    @pytest.fixture
    def keepers(self) -> Iterator[list[subprocess.Popen[bytes]]]:
        started: list[subprocess.Popen[bytes]] = []
        yield started
        for keeper in started:
            keeper.wait(WAIT_S)

    @pytest.fixture
    def server(self, folder: Path, keepers: list, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
        monkeypatch.setattr("cluster.stack.servers.LOG_BYTES", 60_000)
        made = Server("s3", [sys.executable, "-c", FAMILY], answers=lambda: True, cwd=str(folder))
        made.write_spec(folder)
        yield made
        assert running.end(folder, "s3", grace_s=5) == []

    def start(self, folder: Path, server: Server, keepers: list) -> subprocess.Popen[bytes]:
        for name in ("child", "orphan"):
            (folder / name).unlink(missing_ok=True)
        keepers.append(keeper := subprocess.Popen(server.keeper_command(folder), start_new_session=True))
        until(lambda: (folder / "child").exists() and (folder / "child").read_text())
        return keeper

    def family(self, folder: Path) -> list[Path]:
        return [Path("/proc", (folder / name).read_text().strip()) for name in ("child", "orphan")]

    def test_all_that_a_server_started_ends_with_it(self, folder, server, keepers):
        keeper = self.start(folder, server, keepers)
        family = self.family(folder)
        assert all(process.exists() for process in family)
        assert running.end(folder, "s3", grace_s=5) == []
        assert keeper.wait(WAIT_S) == 0
        until(lambda: not any(process.exists() for process in family))
        assert running.read_record(folder, "s3") is None

    def test_a_killed_keeper_leaves_nothing_that_is_not_found(self, folder, server, keepers):
        keeper = self.start(folder, server, keepers)
        family = self.family(folder)
        keeper.kill()
        keeper.wait()
        assert {int(process.name) for process in family} <= {process.pid for process in running.members(folder, "s3")}
        assert running.end(folder, "s3", grace_s=5) == []
        until(lambda: not any(process.exists() for process in family))

    def test_a_server_that_dies_takes_its_family_along_and_leaves_its_record(self, folder, server, keepers):
        keeper = self.start(folder, server, keepers)
        record = running.read_record(folder, "s3")
        assert record
        os.kill(record.server.pid, signal.SIGKILL)
        assert keeper.wait(WAIT_S) not in (0, ALREADY_RUNNING)
        until(lambda: not any(process.exists() for process in self.family(folder)))
        left = running.read_record(folder, "s3")
        assert left == record
        assert not left.keeper.is_alive

    def test_a_server_is_kept_once(self, folder, server, keepers):
        self.start(folder, server, keepers)
        second = subprocess.run(server.keeper_command(folder), check=False, timeout=WAIT_S)
        assert second.returncode == ALREADY_RUNNING

    def test_the_log_is_bounded(self, folder, server, keepers):
        self.start(folder, server, keepers)
        until(lambda: (folder / "logs" / "s3.log.1").exists())
        sizes = [path.stat().st_size for path in (folder / "logs").iterdir()]
        assert max(sizes) <= 2 * 65_536

    def test_a_process_that_got_the_id_later_is_left_alone(self, folder):
        with subprocess.Popen(["sleep", "1000"]) as stranger:
            started = int(Path(f"/proc/{stranger.pid}/stat").read_text().rpartition(")")[2].split()[19])
            for role_started in (started - 1, started):
                process = {"pid": stranger.pid, "started": role_started}
                record = {"keeper": process, "server": process, "boot": running.boot_id(), "since_s": 0}
                running.record_path(folder, "s3").write_text(json.dumps(record))
                running.end(folder, "s3", grace_s=0)
                assert (stranger.poll() is None) == (role_started != started)  # the very process would be ended

    def test_secrets_reach_the_server_and_nothing_that_can_be_seen(self, folder, keepers):
        command = ["sh", "-c", "echo $SECRET > seen; exec sleep 1000"]
        server = Server("mlflow", command, lambda: True, secrets={"SECRET": "AWS_SECRET_ACCESS_KEY"}, cwd=str(folder))
        server.write_spec(folder)
        keepers.append(subprocess.Popen(server.keeper_command(folder), start_new_session=True))
        until(lambda: (folder / "seen").exists() and (folder / "seen").read_text())
        secret = read_credentials(folder / "credentials.env")["AWS_SECRET_ACCESS_KEY"]
        assert (folder / "seen").read_text().strip() == secret
        seen = [Path(f"/proc/{p.pid}/cmdline").read_text() for p in running.members(folder, "mlflow")]
        assert any("keeper.py" in line for line in seen)
        assert not any(secret in line for line in [*seen, server.spec_path(folder).read_text()])
        assert running.end(folder, "mlflow", grace_s=5) == []


class TestSystemd:
    @pytest.fixture
    def files(self, folder: Path) -> dict[str, str]:
        odd = folder.parent / 'a "100 %" folder'
        servers = [Server(key, ["true"], lambda: True) for key in ("s3", "mlflow", "ray")]
        return units(odd, servers, "/usr/bin:/bin")

    def test_the_script_lays_the_units_down(self, files, folder, tmp_path):
        script = as_script(files, folder).split("systemctl", 1)[0]
        subprocess.run(["sh", "-c", script], env={"XDG_CONFIG_HOME": str(tmp_path), "PATH": os.defpath}, check=True)
        written = {path.name: path.read_text() for path in (tmp_path / "systemd" / "user").iterdir()}
        assert {name: text.rstrip() for name, text in written.items()} == {n: t.rstrip() for n, t in files.items()}

    @pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze: apt-get install systemd")
    @pytest.mark.parametrize(("old", "new", "is_well"), [("", "", True), ("Restart=", "Restrt=", False)])
    def test_systemd_has_no_complaint(self, files, tmp_path, old, new, is_well):
        for name, text in files.items():
            (tmp_path / name).write_text(text.replace(old, new) if old else text)
        command = ["systemd-analyze", "--user", "verify", *(str(tmp_path / name) for name in files)]
        environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=WAIT_S)
        assert (done.returncode == 0 and not done.stderr) == is_well, done.stderr
