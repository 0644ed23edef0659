"""Tells when Ray's head ends in the midst of the tests: Ray would end pytest, too, a minute later without a word."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

LOG_TAIL_LINES = 60
"""Enough for the stack of a failed check."""


@contextlib.contextmanager
def watching_head(logs: Path, config: pytest.Config) -> Iterator[None]:
    """End pytest with the test's name and the head's last lines if a head that this process started ends meanwhile.

    Args:
        logs: folder of the head's logs.
        config: of pytest, whose capture is lifted to tell of it.
    """
    pid, over = _head(), threading.Event()

    def watch() -> None:
        how = _wait_for_end(pid)
        if over.is_set():
            return
        test = os.environ.get("PYTEST_CURRENT_TEST", "no test")
        log = logs / "gcs_server.out"
        tail = log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:] if log.exists() else [f"no {log.name}"]
        with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(f"\nRay's head (pid {pid}) ended with {how} during {test}; its log ends with:", file=sys.stderr)
            print(*tail, sep="\n", file=sys.stderr, flush=True)
            os._exit(1)  # without it every test that asks Ray would wait until Ray ends this process

    threading.Thread(target=watch, name="watching Ray's head", daemon=True).start()
    yield
    over.set()


def _wait_for_end(pid: int) -> str:
    """Wait until a child ends, and say how; its status is left to Ray, which may have taken it already."""
    try:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        ended = None
    if ended is None:
        return "a status that Ray took"
    return signal.Signals(ended.si_status).name if ended.si_code != os.CLD_EXITED else f"status {ended.si_status}"


def _head() -> int:
    """Find the head among this process's children."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # processes come and go
            is_child = f"\nPPid:\t{os.getpid()}\n" in (folder / "status").read_text()
            if is_child and b"/gcs_server\0" in (folder / "cmdline").read_bytes():
                return int(folder.name)
    raise AssertionError("this process started no Ray head")
