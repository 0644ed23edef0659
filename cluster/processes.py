"""Server processes of this machine: start, wait until they answer, end with all their children. Knows no server."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlq_ray.errors import ServiceError

GUARD = Path(__file__).with_name("guard.py")
FREE_PORTS = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections, which could take one before a server binds it."""
POLL_S = 0.1
GRACE_S = 15.0
LOG_TAIL_BYTES = 4000


@dataclass(frozen=True)
class Service:
    """A running server: what people call it, its process and where it writes."""

    name: str
    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def process_group(self) -> int:
        """Id of the group that holds it and its children."""
        return self.process.pid

    def stop(self, grace_s: float = GRACE_S) -> None:
        """End it and its children; no error if it is gone already."""
        stop_group(self.process_group, grace_s, self.process)
        if self.process.stdin:
            self.process.stdin.close()


def start_service(
    name: str,
    command: Sequence[str],
    log_path: Path,
    environment: Mapping[str, str] | None = None,
    is_guarded: bool = True,
) -> Service:
    """Start a server in a process group of its own.

    Args:
        name: for messages.
        command: program and arguments.
        log_path: file to which its output is appended.
        environment: variables set for it beside those of this process.
        is_guarded: whether it ends when this process ends, however that comes about.

    Raises:
        ServiceError: there is no such program.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    guard = [sys.executable, "-I", "-S", str(GUARD)] if is_guarded else []
    with log_path.open("ab") as log:
        try:
            process = subprocess.Popen(
                [*guard, *command],
                stdin=subprocess.PIPE if is_guarded else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        except OSError as error:
            raise ServiceError(f"cannot start {name} ({error}): check the installation") from error
    return Service(name, process, log_path)


def wait_until(service: Service, is_ready: Callable[[], bool], timeout_s: float) -> None:
    """Wait until a server answers; one that does not is ended.

    Raises:
        ServiceError: it ended, or did not answer in time; with the last line that it wrote.
    """
    deadline_s = time.monotonic() + timeout_s
    try:
        while not is_ready():
            if (status := service.process.poll()) is not None:
                raise ServiceError(f"{service.name} ended with status {status}: {last_line(service.log_path)}")
            if time.monotonic() > deadline_s:
                raise ServiceError(
                    f"{service.name} did not answer within {timeout_s:.0f} s: {last_line(service.log_path)}"
                )
            time.sleep(POLL_S)
    except BaseException:
        service.stop()
        raise


def stop_group(process_group: int, grace_s: float = GRACE_S, leader: subprocess.Popen[bytes] | None = None) -> None:
    """End all processes of a group: ask, wait, then kill."""
    for sent, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, grace_s)):
        deadline_s = time.monotonic() + wait_s
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process_group, sent)
            while time.monotonic() < deadline_s:
                if leader:
                    leader.poll()  # or it would stay in the group as a zombie
                os.killpg(process_group, 0)
                time.sleep(POLL_S)
            continue
        return


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback address that nobody listens on."""
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        for port in random.SystemRandom().sample(FREE_PORTS, len(FREE_PORTS)):
            if len(found) == count:
                break
            holder = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                holder.bind(("127.0.0.1", port))
                found.append(port)
        return found


def check_port_free(host: str, port: int, name: str) -> None:
    """Make sure that a server can listen on a port.

    Raises:
        ServiceError: somebody else does, or the address is not this machine's.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServiceError(
                f"{name} cannot listen on {host}:{port} ({error.strerror}): give another port"
            ) from error


def last_line(log_path: Path) -> str:
    """Quote the last line of a log, and say where it lies."""
    with log_path.open("rb") as log:
        log.seek(max(0, log_path.stat().st_size - LOG_TAIL_BYTES))
        lines = log.read().decode(errors="replace").strip().splitlines()
    return f"'{lines[-1].strip()[:200]}'; see {log_path}" if lines else f"it wrote nothing to {log_path}"
