"""The processes of a stack's servers: which run, what they use, and how they are ended. Knows no server.

A process is known by its id and its start, so that another one that got the same id later is never touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

POLL_S = 0.1
KILL_GRACE_S = 5.0
MARK = "RLQ_STACK_SERVICE"
"""Variable of all that a server's keeper starts: by it those are found whose keeper is gone."""


class Process(NamedTuple):
    """A process: its id and when it was started, in clock ticks since boot."""

    pid: int
    started: int

    @property
    def is_alive(self) -> bool:
        """Whether it is there and no zombie."""
        seen = _look(self.pid)
        return seen is not None and seen.process == self and not seen.is_zombie

    def send(self, number: int) -> None:
        """Send it a signal; no error if it is gone."""
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)  # from here on it is this very process that is meant
            try:
                if self.is_alive:
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)


@dataclass(frozen=True)
class Record:
    """What a keeper noted: itself, its server, and when they began."""

    keeper: Process
    server: Process
    since_s: float


class _Seen(NamedTuple):
    process: Process
    parent: int
    is_zombie: bool


def record_path(folder: Path, key: str) -> Path:
    """Return where the keeper of a server notes its process."""
    return folder / "run" / f"{key}.json"


def read_record(folder: Path, key: str) -> Record | None:
    """Return what a server's keeper noted; None if it ended in order or never ran since the machine was started."""
    try:
        fields = json.loads(record_path(folder, key).read_text())
        if fields["boot"] != boot_id():
            return None
        keeper, server = (Process(fields[role]["pid"], fields[role]["started"]) for role in ("keeper", "server"))
        return Record(keeper, server, float(fields["since_s"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def note_ready(folder: Path, key: str, record: Record) -> None:
    """Note that a server has answered since it was started."""
    _ready_path(folder, key).write_text(json.dumps(record.keeper))


def was_ready(folder: Path, key: str, record: Record) -> bool:
    """Tell whether a server has answered since it was started."""
    try:
        return bool(json.loads(_ready_path(folder, key).read_text()) == list(record.keeper))
    except (OSError, ValueError):
        return False


def mark(folder: Path, key: str) -> str:
    """Return the value of `MARK` for a server."""
    return f"{folder}/{key}"


def members(folder: Path, key: str) -> list[Process]:
    """Return the living processes of a server, with or without its keeper."""
    record = read_record(folder, key)
    roots = {p.pid for p in (record.keeper, record.server) if p.is_alive} if record else set()
    wanted = f"{MARK}={mark(folder, key)}".encode()
    seen = {pid: look for pid in _ids() if (look := _look(pid))}
    roots |= {pid for pid in seen if wanted in _environment(pid)}
    found, latest = set(roots), set(roots)
    while latest:
        latest = {pid for pid, look in seen.items() if look.parent in latest} - found
        found |= latest
    return [seen[pid].process for pid in sorted(found & seen.keys()) if not seen[pid].is_zombie]


def end(folder: Path, key: str, grace_s: float) -> list[Process]:
    """End a server and all it started; return what would not go.

    Args:
        folder: of the stack.
        key: of the server.
        grace_s: time that its keeper gives it.
    """
    all_of_it = members(folder, key)
    record = read_record(folder, key)
    if record and record.keeper.is_alive:
        record.keeper.send(signal.SIGTERM)
        _wait([record.keeper], grace_s + 2 * KILL_GRACE_S)
    for number in (signal.SIGTERM, signal.SIGKILL):
        left = [process for process in {*all_of_it, *members(folder, key)} if process.is_alive]
        for process in left:
            process.send(number)
        _wait(left, KILL_GRACE_S)
    record_path(folder, key).unlink(missing_ok=True)
    return [process for process in all_of_it if process.is_alive]


def memory_bytes(processes: Iterable[Process]) -> int:
    """Return what processes hold of the memory, what they share counted once."""
    total = 0
    for process in processes:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
            total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def boot_id() -> str:
    """Return what changes when the machine is started anew."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _ready_path(folder: Path, key: str) -> Path:
    return folder / "run" / f"{key}.ready"


def _wait(processes: list[Process], timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while any(process.is_alive for process in processes) and time.monotonic() < deadline_s:
        time.sleep(POLL_S)


def _ids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []  # another user's, or gone


def _look(pid: int) -> _Seen | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return _Seen(Process(pid, int(fields[19])), int(fields[1]), fields[0] in "ZX")
