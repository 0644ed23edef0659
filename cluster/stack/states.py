"""How the servers of a stack stand: which run, since when, and what they hold. Changes nothing."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cluster.stack import running
from cluster.stack.servers import Server, servers_of
from cluster.stack.settings import read_settings


@dataclass(frozen=True)
class ServerState:
    """How a server of a stack stands.

    Attributes:
        key: of the server.
        title: of the server, for people.
        state: `running`; `starting`; `not answering`; `dead`, after another end than by `rlq down`; `ended`.
        pid: of the server itself.
        since_s: when it was started, in seconds since 1970.
        memory_bytes: of it and all it started.
        log: where it writes.
    """

    key: str
    title: str
    state: str
    pid: int | None
    since_s: float | None
    memory_bytes: int
    log: str


def stack_states(folder: Path) -> list[ServerState]:
    """Return how the servers of a stack stand; empty if there never was one.

    Raises:
        ServiceError: the settings or keys of the stack are damaged.
    """
    settings = read_settings(folder)
    if settings is None:
        return []
    servers = servers_of(folder, settings)
    with ThreadPoolExecutor(max_workers=len(servers)) as pool:
        return list(pool.map(lambda server: _state(server, folder), servers))


def disk_bytes(folder: Path) -> int:
    """Return what the files below a folder take of the disk."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += 512 * path.lstat().st_blocks
    return total


def _state(server: Server, folder: Path) -> ServerState:
    record = running.read_record(folder, server.key)
    processes = running.members(folder, server.key)
    if record and record.keeper.is_alive:
        silent = "not answering" if running.was_ready(folder, server.key, record) else "starting"
        state = "running" if server.answers() else silent
    else:
        state = "dead" if record or processes else "ended"
        record = None
    return ServerState(
        key=server.key,
        title=server.title,
        state=state,
        pid=record.server.pid if record else None,
        since_s=record.since_s if record else None,
        memory_bytes=running.memory_bytes(processes),
        log=str(server.log_path(folder)),
    )
