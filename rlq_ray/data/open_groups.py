"""Row groups held in memory: each is fetched once however many threads want it, and ahead of time if told to.

Knows keys and bytes, neither shards nor stores.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from typing import NamedTuple

from rlq_ray.storage import Content


class GroupKey(NamedTuple):
    """A row group of a data set, and whether its masks are wanted beside its images."""

    group: int
    masks: bool


class OpenGroups:
    """A bounded memory of row groups; what was used longest ago gives way first."""

    def __init__(self, fetch: Callable[[GroupKey], Content], max_bytes: int) -> None:
        """Hold up to `max_bytes`, and at least the row group that came last."""
        self._fetch, self._max_bytes = fetch, max_bytes
        self._lock = threading.Lock()
        self._held: OrderedDict[GroupKey, Future[Content]] = OrderedDict()
        self._sizes: dict[GroupKey, int] = {}
        """Bytes of those that are here; the others of `_held` are on their way, and stay."""
        self._held_bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    @property
    def held_bytes(self) -> int:
        """Bytes of the row groups that are here."""
        return self._held_bytes

    def get(self, key: GroupKey) -> Content:
        """Give a row group's bytes, fetched by the calling thread if nobody did or does.

        Raises:
            Exception: what the fetch raised; the next call tries again.
        """
        while True:
            with self._lock:
                future = self._held.get(key)
                is_new = future is None
                if future is None:
                    future = self._held[key] = Future()
                else:
                    self._held.move_to_end(key)
            if is_new:
                self._fill(key, future)
            try:
                return future.result()
            except CancelledError:  # its reader was closed before it came to it
                continue

    def request(self, key: GroupKey, pool: Executor) -> None:
        """Have a row group fetched by a thread of the pool, unless it is held or on its way.

        Raises:
            RuntimeError: the pool is closed or has no thread; the next `get` fetches it itself.
        """
        with self._lock:
            if key in self._held:
                return
            future: Future[Content] = Future()
            self._held[key] = future
        try:
            task = pool.submit(self._fill, key, future)
        except BaseException:
            self._abandon(key, future)
            raise
        task.add_done_callback(lambda task: self._abandon(key, future) if task.cancelled() else None)

    def release(self, key: GroupKey) -> None:
        """Forget a row group that is not needed any more."""
        with self._lock:
            if key in self._sizes:
                self._drop(key)

    def _fill(self, key: GroupKey, future: Future[Content]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            content = self._fetch(key)
        except BaseException as error:
            with self._lock:
                del self._held[key]
            future.set_exception(error)
            return
        with self._lock:  # counted before anybody can use and release it
            self._sizes[key] = len(content)
            self._held_bytes += len(content)
            self._make_room(key)
        future.set_result(content)

    def _abandon(self, key: GroupKey, future: Future[Content]) -> None:
        """Have those who wait for it fetch it themselves, unless a thread of the pool has begun all the same."""
        with self._lock:
            if future.cancel():
                del self._held[key]

    def _make_room(self, newest: GroupKey) -> None:
        oldest_first = [key for key in self._held if key in self._sizes and key != newest]
        while self._held_bytes > self._max_bytes and oldest_first:
            self._drop(oldest_first.pop(0))

    def _drop(self, key: GroupKey) -> None:
        del self._held[key]
        self._held_bytes -= self._sizes.pop(key)
