"""Row groups kept on a node's disk: shared by its workers, bounded, and never trusted more than the store.

Knows names and bytes. A file appears whole or not at all; whoever reads one checks it, and drops it if it is damaged.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import uuid
import warnings
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from rlq_ray.errors import UsageError

NUM_LOCKS = 256
SUFFIX = ".rows"
SPARE_SHARE = 0.1
"""Share of the bound that is freed at once when it is reached."""
LOOK_SHARE = 0.02
"""Share of the bound that a process writes before it looks through all files again; so far may the bound be passed."""


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

    def get(self, name: str, fetch: Callable[[], bytes], is_sound: Callable[[bytes], bool]) -> bytes:
        """Give the content kept under a name, or fetch and keep it; one process of the node fetches, others wait.

        Raises:
            Exception: what `fetch` raised.
        """
        path = self._own / f"{name}{SUFFIX}"
        with self._locked(f"{zlib.crc32(str(path).encode()) % NUM_LOCKS:03d}"):
            with contextlib.suppress(OSError):
                content = path.read_bytes()
                if is_sound(content):
                    os.utime(path)  # it was used just now
                    return content
                path.unlink()
            content = fetch()
            self._keep(path, content)
        return content

    def retain(self, prefixes: Collection[str]) -> None:
        """Delete what is kept of this data set but begins with none of these, such as shards of people who left."""
        for path in self._own.glob(f"*{SUFFIX}"):
            if path.name.partition("-")[0] not in prefixes:
                path.unlink(missing_ok=True)

    def _keep(self, path: Path, content: bytes) -> None:
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            part.write_bytes(content)
            part.replace(path)
            self._make_room(len(content))
        except OSError as error:
            part.unlink(missing_ok=True)
            if not self._has_complained:  # reading goes on from the store
                self._has_complained = True
                warnings.warn(
                    f"cannot keep row groups in {self._folder} ({error.strerror}), reading all from the store: "
                    "free space there, or set RLQ_CACHE to another disk",
                    RuntimeWarning,
                    stacklevel=2,
                )

    def _make_room(self, added: int) -> None:
        """Delete what was used longest ago, if the bound is reached; every process looks from time to time."""
        self._unseen_bytes += added
        if self._unseen_bytes < LOOK_SHARE * self._max_bytes:
            return
        self._unseen_bytes = 0
        with self._locked("room"):
            files = [(stat.st_mtime, stat.st_size, path) for path, stat in self._files()]
            held = sum(size for _, size, _ in files)
            if held <= self._max_bytes:
                return
            for _, size, path in sorted(files):
                path.unlink(missing_ok=True)
                held -= size
                if held <= (1 - SPARE_SHARE) * self._max_bytes:
                    return

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self._folder.glob(f"*/*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                yield path, path.stat()

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Keep the other threads and processes of the node out; ends with the process, however that ends."""
        with (self._locks / name).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
