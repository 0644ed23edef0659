"""Threads that each make one attempt, so that nobody has to wait for its end. Knows nothing of what is attempted."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

IDLE_S = 5.0
"""A thread without work ends after this time."""


class AttemptThreads:
    """Run each job at once in a thread of its own; threads are taken up again, since a new one costs 0.2 ms.

    An idle thread is a permit of `_idle`: who takes it may put one job, and a thread leaves only with its own permit.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)

    def start(self, job: Callable[[], None]) -> None:
        """Begin a job, which must not raise."""
        if self._idle.acquire(blocking=False):
            self._jobs.put(job)
            return
        threading.Thread(target=self._work, args=(job,), name="rlq-attempt", daemon=True).start()

    def _work(self, job: Callable[[], None]) -> None:
        while True:
            job()
            del job  # or an idle thread would keep alive what it read
            self._idle.release()
            try:
                job = self._jobs.get(timeout=IDLE_S)
            except queue.Empty:
                if self._idle.acquire(blocking=False):
                    return
                job = self._jobs.get()  # the permit was taken, so a job is on its way
