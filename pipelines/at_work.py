"""Who is at work on a study: one call at a time, on this machine."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from rlq_ray.errors import UsageError


@contextlib.contextmanager
def alone(folder: Path, who: str) -> Iterator[None]:
    """Keep other calls of a study from its folder; the lock ends with the process, however that ends.

    Raises:
        UsageError: another call is at work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another call of {who} is at work in {folder}: wait for its end, or stop it") from None
        yield


def is_at_work(folder: Path) -> bool:
    """Tell whether a call of a study is at work in its folder, on this machine."""
    if not (folder / ".lock").exists():
        return False
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
