import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.processes import check_port_free, free_ports, start_service, wait_until
from rlq_ray.errors import ServiceError

PARENT_AND_CHILD = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(60)
"""


def is_alive(pid):
    """A zombie is dead: whoever adopted it may be slow to say so."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition, timeout_s=20):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "did not happen in time"
        time.sleep(0.05)


def start_family(folder):
    """A service that has a child; returns it with the child's pid."""
    pid_file = folder / "pid"
    service = start_service("a family", [sys.executable, "-c", PARENT_AND_CHILD, str(pid_file)], folder / "log")
    wait_until(service, lambda: pid_file.exists() and bool(pid_file.read_text()), timeout_s=20)
    return service, int(pid_file.read_text())


def test_stop_ends_children_too(tmp_path):
    service, child = start_family(tmp_path)
    assert is_alive(child)
    service.stop()
    assert not is_alive(child)
    service.stop()  # again is no error


def test_stop_kills_what_does_not_listen(tmp_path):
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    service = start_service("a deaf one", [sys.executable, "-c", deaf], tmp_path / "log")
    wait_until(service, lambda: "deaf" in (tmp_path / "log").read_text(), timeout_s=20)
    service.stop(grace_s=0.2)
    assert service.process.poll() is not None


def test_nothing_stays_when_the_starter_is_killed(tmp_path):
    script = (
        "import pathlib, sys, time; sys.path.insert(0, sys.argv[2])\n"
        "import test_processes\n"
        "test_processes.start_family(pathlib.Path(sys.argv[1])); print('up', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parent)]
    starter = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert starter.stdout.readline() == b"up\n"
    child = int((tmp_path / "pid").read_text())
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    wait_for(lambda: not is_alive(child))


def test_an_unguarded_service_leads_its_own_group(tmp_path):
    service = start_service("a sleeper", ["sleep", "60"], tmp_path / "log", is_guarded=False)
    assert os.getpgid(service.process.pid) == service.process_group != os.getpgid(0)
    service.stop()


def test_gives_the_environment_to_the_service(tmp_path):
    service = start_service("env", ["env"], tmp_path / "log", {"RLQ_TEST": "seen"})
    service.process.wait(20)
    assert "RLQ_TEST=seen" in (tmp_path / "log").read_text().splitlines()
    service.stop()


def test_says_why_a_service_ended(tmp_path):
    service = start_service("a failure", ["sh", "-c", "echo reason; exit 3"], tmp_path / "log")
    with pytest.raises(ServiceError, match=r"a failure ended with status 3: 'reason'; see .*log"):
        wait_until(service, lambda: False, timeout_s=20)


def test_gives_up_on_a_service_that_never_answers(tmp_path):
    service = start_service("a sleeper", ["sleep", "60"], tmp_path / "log")
    with pytest.raises(ServiceError, match="a sleeper did not answer within 0 s: it wrote nothing"):
        wait_until(service, lambda: False, timeout_s=0.2)
    assert service.process.poll() is not None


def test_refuses_a_program_that_is_not_there(tmp_path):
    with pytest.raises(ServiceError, match=r"cannot start nothing .*no-such-program.*: check the installation"):
        start_service("nothing", ["no-such-program"], tmp_path / "log", is_guarded=False)


def test_free_ports_are_distinct_and_free():
    ports = free_ports(8)
    assert len(set(ports)) == 8
    for port in ports:
        check_port_free("127.0.0.1", port, "a server")


def test_refuses_a_taken_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=f"a server cannot listen on 127.0.0.1:{port}"):
            check_port_free("127.0.0.1", port, "a server")
