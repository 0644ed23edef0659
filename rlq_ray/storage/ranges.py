"""Ranges of bytes of large files, read by many threads at once, through stores that stall, cut and come back."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rlq_ray.errors import NotFoundError, StorageError
from rlq_ray.storage.attempts import AttemptThreads
from rlq_ray.storage.faults import reason_of
from rlq_ray.storage.handles import Handle, Handles
from rlq_ray.storage.memory import RecycledMemory
from rlq_ray.storage.places import Location
from rlq_ray.storage.pursuit import PATIENT, Patience, Pursuit

MOST_HANDLES = 1024
SLOW = 4.0
"""A request is silent only after so many times the usual, too: on a slow line hedges would just add to the load."""
MEMORY = 0.05
"""Weight of the newest read in what is usual."""

T = TypeVar("T")


@dataclass(frozen=True)
class ReadCounts:
    """What a reader has done so far."""

    requests: int = 0
    """Attempts, retries and hedges included."""
    retries: int = 0
    """Attempts that were made because one had failed or was given up."""
    hedges: int = 0
    """Attempts that were made beside a silent one."""
    bytes: int = 0
    """Bytes returned."""
    seconds: float = 0.0
    """Time that callers waited, summed over threads."""


class RangeReader:
    """Reads ranges of files; safe for many threads, and pickles without its connections.

    A file must not change while it is read: its size is asked for once.
    """

    def __init__(self, patience: Patience = PATIENT) -> None:
        self._patience = patience
        self._threads, self._handles = AttemptThreads(), Handles(MOST_HANDLES)
        self._memory = RecycledMemory()
        self._counts, self._usual_s = ReadCounts(), 0.0
        self._under_way: set[Pursuit[Any]] = set()
        self._lock = threading.Lock()  # of the counts and of what is under way; held for some additions per read

    def __reduce__(self) -> tuple[object, ...]:
        return RangeReader, (self._patience,)

    def counts(self) -> ReadCounts:
        """Return what was done so far."""
        return self._counts

    def abandon(self) -> None:
        """Let the reads from S3 that are under way raise a StorageError soon instead of trying on until the deadline.

        Later ones are read as ever. What a read has asked the store for ends by itself, but nobody waits for it.
        """
        with self._lock:
            for pursuit in self._under_way:
                pursuit.abandon()

    def size(self, place: Location) -> int:
        """Return the size of a file in bytes; raises like `read`."""
        if place.is_local:
            return _locally(place, lambda: Path(place.path).stat().st_size)
        return self._pursue(place, lambda handle: handle.size)

    def read(self, place: Location, start: int, size: int) -> memoryview:
        """Read `size` bytes from the byte `start` on; fewer only where the file ends.

        The memory is used for another read once no view of it is left.

        Raises:
            NotFoundError: no such file or bucket; at once.
            StorageError: the store refuses the credentials, told at once; it gave no answer until the deadline; or
                the read was abandoned.
        """
        if start < 0 or size < 0:
            raise ValueError(f"start is {start}, size is {size}: give numbers from 0 on")
        if place.is_local:
            began_s = time.monotonic()
            content = _locally(place, lambda: _read_file(place.path, start, size, self._memory))
            self._count(ReadCounts(requests=1, seconds=time.monotonic() - began_s))
        else:
            content = self._pursue(place, lambda handle: _read_object(handle, start, size, self._memory))
        self._count(ReadCounts(bytes=len(content)))
        return content

    def _pursue(self, place: Location, act: Callable[[Handle], T]) -> T:
        began_s = time.monotonic()
        hedge_s = max(self._patience.hedge_s, SLOW * self._usual_s)
        pursuit = Pursuit(place, act, self._patience, hedge_s)
        with self._lock:
            self._under_way.add(pursuit)
        try:
            found = pursuit.run(self._threads, self._handles)
        finally:
            with self._lock:
                self._under_way.remove(pursuit)
            waited_s = time.monotonic() - began_s
            self._count(ReadCounts(pursuit.requests, pursuit.retries, pursuit.hedges, seconds=waited_s))
        if pursuit.retries == 0:
            self._usual_s += MEMORY * (waited_s - self._usual_s)  # without a lock: an estimate may miss a read
        return found

    def _count(self, more: ReadCounts) -> None:
        with self._lock:
            so_far = self._counts
            self._counts = ReadCounts(
                so_far.requests + more.requests,
                so_far.retries + more.retries,
                so_far.hedges + more.hedges,
                so_far.bytes + more.bytes,
                so_far.seconds + more.seconds,
            )


def _read_object(handle: Handle, start: int, size: int, memory: RecycledMemory) -> memoryview:
    """Read into memory that no other attempt writes to: a hedge and what it overtakes run side by side."""
    view = memory.take(max(0, min(size, handle.size - start)))
    filled = handle.file.get_stream(start, len(view)).readinto(view) if view else 0
    return view[:filled].toreadonly()


def _read_file(path: str, start: int, size: int, memory: RecycledMemory) -> memoryview:
    """Read from a file that is opened for this range alone: an open takes microseconds, and none can be left over."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        view, filled = memory.take(size), 0
        while filled < size and (part := os.preadv(descriptor, [view[filled:]], start + filled)):
            filled += part  # the system gives 2 GiB at most
        return view[:filled].toreadonly()
    finally:
        os.close(descriptor)


def _locally(place: Location, act: Callable[[], T]) -> T:
    try:
        return act()
    except FileNotFoundError as error:
        raise NotFoundError(f"{place} does not exist: check the address") from error
    except OSError as error:
        raise StorageError(f"cannot read {place}: {reason_of(error)}; check the disk and the permissions") from error
