"""What a process and all that it started have used, from Linux's `/proc`."""

from __future__ import annotations

import ctypes
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose parent ends, so that `tree` goes on seeing them."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def tree(root: int) -> list[int]:
    """List a process and its descendants, zombies too."""
    children = defaultdict(list)
    for entry in os.listdir("/proc"):  # noqa: PTH208 (a Path per process is slow, and this runs during measurements)
        if entry.isdigit() and (fields := _stat(int(entry))):
            children[int(fields[1])].append(int(entry))
    found, pending = [], [root]
    while pending:
        pid = pending.pop()
        found.append(pid)
        pending += children[pid]
    return found


def cpu_seconds(root: int) -> float:
    """Sum user and system time of a process, its descendants and those of them that have ended."""
    ticks = 0
    for pid in tree(root):
        if fields := _stat(pid):
            ticks += sum(map(int, fields[11:15]))  # utime, stime, and both of the children waited for
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_bytes(roots: Iterable[int]) -> int:
    """Sum the proportional set sizes of some processes and their descendants: a shared page counts once."""
    total = 0
    for root in roots:
        for pid in tree(root):
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except (OSError, ValueError):
                continue  # it has just ended
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def _stat(pid: int) -> list[str]:
    """Read a process's fields from its state on; empty if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()
