"""Ports of the stack: which are free, who holds one, and which are taken. Knows no server."""

from __future__ import annotations

import contextlib
from pathlib import Path

from cluster.processes import check_port_free, free_ports
from rlq_ray.errors import ServiceError

HOST = "127.0.0.1"
LISTENING = "0A"


def is_free(port: int) -> bool:
    """Tell whether a server can listen on a port of the loopback address."""
    try:
        check_port_free(HOST, port, "")
    except ServiceError:
        return False
    return True


def pick(name: str, fixed: int | None, usual: int, notes: list[str]) -> int:
    """Return the port for a server: the fixed one, else the usual one, else a free one, which is noted.

    Raises:
        ServiceError: the fixed one is taken.
    """
    port = fixed or usual
    if is_free(port):
        return port
    if fixed:
        raise ServiceError(f"{name} cannot have port {port}: {holder(port)} listens there; give another port or none")
    instead = free_ports(1)[0]
    notes.append(f"{name} listens on port {instead}, since {holder(port)} has {port}")
    return instead


def holder(port: int) -> str:
    """Say which process listens on a port, as far as this user may know."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and any(str(fd.readlink()) in sockets for fd in (entry / "fd").iterdir()):
                program = (entry / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
                return f"'{Path(program).name}' (pid {entry.name})"
    return "a process of another user" if sockets else "another process"


def _listening(port: int) -> set[str]:
    """Return the inodes of the sockets that listen on a port."""
    found = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == LISTENING and int(words[1].rpartition(":")[2], 16) == port:
                    found.add(words[9])
    return found
