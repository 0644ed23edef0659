"""Row groups kept on a node's disk: shared by its workers, bounded, and never trusted more than the store.

Knows names and bytes. A file appears whole or not at all; whoever reads one checks it, and drops it if it is damaged.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
import uuid
import warnings
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import IO

from rlq_ray.errors import UsageError
from rlq_ray.storage import Content

SUFFIX = ".rows"
SPARE_SHARE = 0.1
"""Share of the bound that is freed at once when it is reached."""
LOOK_SHARE = 0.02
"""Share of the bound that a process writes of a data set before it looks through all files again.

By so much may each of a node's processes pass the bound with each of its data sets: 8 of them by 16 % together.
"""
ABANDONED_S = 3600.0
"""Age from which a part of a file has no writer any more: it was killed."""


def default_folder() -> Path:
    """Name the node's folder: `RLQ_CACHE`, else `rlq` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("RLQ_CACHE") or f"{home}/rlq").expanduser()


class DiskCache:
    """Files of one data set below a folder that other data sets and processes use too."""

    def __init__(self, folder: Path, data_set: str, max_bytes: int) -> None:
        """Keep up to `max_bytes` below `folder`, over all data sets and processes.

        Raises:
            UsageError: the folder cannot be written.
        """
        self._folder, self._max_bytes = folder, max_bytes
        self._own = folder / hashlib.sha256(data_set.encode()).hexdigest()[:16]
        self._locks = folder / "locks"
        self._has_complained = False
        self._unseen_bytes = max_bytes  # the first file looks
        try:
            for made in (self._own, self._locks):
                made.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"the cache folder {folder} cannot be written ({error.strerror}): set RLQ_CACHE to one on a local "
                "disk, or data.disk_cache_mb=0"
            ) from error

    def get(self, name: str, fetch: Callable[[], Content], is_sound: Callable[[bytes], bool]) -> Content:
        """Give the content kept under a name, or fetch and keep it; one process of the node fetches, others wait.

        Raises:
            Exception: what `fetch` raised.
        """
        path = self._own / f"{name}{SUFFIX}"
        content: Content | None = _read_sound(path, is_sound)
        if content is not None:
            return content
        with contextlib.ExitStack() as held:
            is_locked = self._try(lambda: held.enter_context(self._locked(f"{self._own.name}-{name}")))
            content = _read_sound(path, is_sound)  # another may have kept it meanwhile
            if content is None:
                content = fetch()
                if is_locked:
                    self._try(lambda: self._keep(path, content))
        return content

    def retain(self, prefixes: Collection[str]) -> None:
        """Delete what is kept of this data set but begins with none of these, such as shards of people who left."""
        for path in self._own.glob("*"):
            if path.name.lstrip(".").partition("-")[0] not in prefixes:
                path.unlink(missing_ok=True)

    def _try(self, act: Callable[[], object]) -> bool:
        """Do what the cache alone needs; tell whether it succeeded, and the user once if the disk refused it."""
        try:
            act()
        except FileNotFoundError:  # the folder was removed by hand just now: the next file makes it again
            return False
        except OSError as error:
            if not self._has_complained:
                self._has_complained = True
                warnings.warn(
                    f"cannot keep row groups in {self._folder} ({error.strerror}), reading from the store: "
                    "free space there, or set RLQ_CACHE to another disk",
                    RuntimeWarning,
                    stacklevel=3,
                )
            return False
        return True

    def _keep(self, path: Path, content: Content) -> None:
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content)
            part.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
        self._make_room(len(content))

    def _make_room(self, added: int) -> None:
        """Delete what was used longest ago, if the bound is reached; every process looks from time to time."""
        self._unseen_bytes += added
        if self._unseen_bytes < LOOK_SHARE * self._max_bytes:
            return
        self._unseen_bytes = 0
        with self._locked("room"):
            files = sorted((stat.st_mtime, stat.st_size, path) for path, stat in self._files())
            held = sum(size for _, size, _ in files)
            bound = self._max_bytes if held <= self._max_bytes else (1 - SPARE_SHARE) * self._max_bytes
            for used_s, size, path in files:
                is_whole = path.name.endswith(SUFFIX)
                if held > bound if is_whole else used_s < time.time() - ABANDONED_S:
                    path.unlink(missing_ok=True)
                    held -= size

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """List what is kept, and the parts of what is being written or was when its writer was killed."""
        for path in self._folder.glob(f"*/*{SUFFIX}*"):
            with contextlib.suppress(FileNotFoundError):
                yield path, path.stat()

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Keep the other threads and processes of the node out; ends with the process, however that ends.

        Each name has a lock file of its own, so that a read that stalls holds up nobody but who wants the same.

        Raises:
            OSError: the disk refuses it.
        """
        path = self._locks / name
        with _lock_file(path):
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    path.unlink()  # who waits for it finds that it is gone, and makes another


def _read_sound(path: Path, is_sound: Callable[[bytes], bool]) -> bytes | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if not is_sound(content):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # it was used just now
    return content


def _lock_file(path: Path) -> IO[bytes]:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                    return lock
        except BaseException:
            lock.close()
            raise
        lock.close()  # whoever held it has taken it away
