"""Keep one server of the stack running apart from any terminal: note its process, bound its log, end all it started.

Run as a script, `python keeper.py SPEC.json`, by `rlq up` or by systemd, in a session of its own. It holds a lock for
as long as it lives, so that no server is run twice. Imports nothing but the standard library, since it stays in memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

ALREADY_RUNNING = 3
"""Exit status of a keeper whose server another one keeps."""
POLL_S = 0.5
CHUNK_BYTES = 1 << 16
LEFTOVER_GRACE_S = 5.0
"""Time for what a server left behind when it ended."""
SET_CHILD_SUBREAPER, SET_PARENT_DEATH_SIGNAL = 36, 1  # of prctl(2)


def main(spec_path: str) -> int:
    """Run the server of a spec until it ends or a signal asks for that; return the server's status, 0 if asked."""
    spec: dict[str, Any] = json.loads(Path(spec_path).read_text())
    with Path(spec["lock"]).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return ALREADY_RUNNING
        _prctl(SET_CHILD_SUBREAPER, 1)  # what loses its parent becomes our child, so nothing escapes
        asked = _Asked()
        for folder in spec["private_folders"]:
            Path(folder).mkdir(mode=0o700, exist_ok=True)
        child = subprocess.Popen(
            spec["command"],
            cwd=spec["cwd"],
            env=_environment(spec),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ray kills its whole process group at times
            preexec_fn=_end_with_parent,
        )
        record = Path(spec["record"])
        _write_record(record, child.pid)
        assert child.stdout is not None
        _watch(child, child.stdout, _BoundedLog(Path(spec["log"]), spec["log_bytes"]), asked, spec["grace_s"])
        _end_all(_descendants())
        if asked.at_s is None:
            return child.returncode or 1  # the record stays, and tells that the server died
        record.unlink(missing_ok=True)
    return 0


class _Asked:
    """Notes when a signal asked for the end."""

    def __init__(self) -> None:
        self.at_s: float | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _note(self, *_: object) -> None:
        self.at_s = self.at_s or time.monotonic()


class _BoundedLog:
    """A file of at most so many bytes, and the one before it."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path, self._most_bytes = path, most_bytes
        self._file = path.open("ab")

    def write(self, content: bytes) -> None:
        if self._file.tell() + len(content) > self._most_bytes:
            self._file.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._file = self._path.open("ab")
        self._file.write(content)
        self._file.flush()


def _watch(child: subprocess.Popen[bytes], output: IO[bytes], log: _BoundedLog, asked: _Asked, grace_s: float) -> None:
    """Copy the server's output until it has ended; pass the wish to end on, and kill it when it does not follow."""
    is_told, is_open = False, True
    while child.poll() is None:
        if is_open and select.select([output], [], [], POLL_S)[0]:
            content = os.read(output.fileno(), CHUNK_BYTES)
            log.write(content)
            is_open = bool(content)
        elif not is_open:
            time.sleep(POLL_S)
        if asked.at_s is not None and not is_told:
            child.terminate()
            is_told = True
        if asked.at_s is not None and time.monotonic() > asked.at_s + grace_s:
            child.kill()
    while select.select([output], [], [], 0)[0] and (content := os.read(output.fileno(), CHUNK_BYTES)):
        log.write(content)


def _environment(spec: dict[str, Any]) -> dict[str, str]:
    """Return the server's variables: ours without those that would mislead it, its own, and its secrets."""
    kept = {name: value for name, value in os.environ.items() if name not in spec["unset"]}
    lines = Path(spec["credentials"]).read_text().splitlines()
    known = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {**kept, **spec["environment"], **{name: known[source] for name, source in spec["secrets"].items()}}


def _write_record(path: Path, child: int) -> None:
    processes = {"keeper": os.getpid(), "server": child}
    record = {role: {"pid": pid, "started": _stat(pid)[1]} for role, pid in processes.items()}
    part = path.with_name(f".{path.name}.part")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    part.write_text(json.dumps({**record, "boot": boot, "since_s": time.time()}))
    part.replace(path)


def _end_all(processes: list[int]) -> None:
    """End what is left, deepest last; each is our child by now or becomes it."""
    for number, wait_s in ((signal.SIGTERM, LEFTOVER_GRACE_S), (signal.SIGKILL, LEFTOVER_GRACE_S)):
        deadline_s = time.monotonic() + wait_s
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        while processes and time.monotonic() < deadline_s:
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            processes = _descendants()
            time.sleep(POLL_S / 10)


def _descendants() -> list[int]:
    """Return the ids of all processes below this one."""
    parents = {pid: parent for pid, (parent, _) in _processes()}
    found, latest = [], {os.getpid()}
    while latest:
        latest = {pid for pid, parent in parents.items() if parent in latest}
        found += sorted(latest)
    return found


def _processes() -> Iterator[tuple[int, tuple[int, int]]]:
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                yield int(entry.name), _stat(int(entry.name))


def _stat(pid: int) -> tuple[int, int]:
    """Return a process's parent and its start in clock ticks since boot."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1]), int(fields[19])


def _end_with_parent() -> None:
    _prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
