"""Writes behind the caller's back: one thread, in order, patient with a store that is away. Knows no store."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from rlq_ray.tracking.base import MetricPoint

POINTS_PER_WRITE = 1000
"""Metric values that one request may carry."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0

Job = Callable[[], None]
StampedPoint = tuple[MetricPoint, int]

log = logging.getLogger(__name__)


class BackgroundWriter:
    """A queue of metric points and other writings, worked off by a daemon thread.

    A writing that fails for a passing reason is repeated until it succeeds or `close` gives up; one that fails for
    good is logged, counted as lost and left out. A store that is away therefore never holds up or ends a training.
    """

    def __init__(self, write_points: Callable[[list[StampedPoint]], None], is_passing: Callable[[Exception], bool]):
        """Start the thread.

        Args:
            write_points: writes up to 1000 points, each with its time in milliseconds since 1970.
            is_passing: tells whether a failure may go away by itself.
        """
        self._write_points = write_points
        self._is_passing = is_passing
        self._queue: deque[StampedPoint | Job] = deque()
        self._changed = threading.Condition()
        self._is_closing = False
        self._given_up = threading.Event()
        self._lost = 0
        self._thread = threading.Thread(target=self._work, name="rlq-tracking", daemon=True)
        self._thread.start()

    def put_points(self, points: Iterable[MetricPoint]) -> None:
        """Queue metric points, stamped with the present time."""
        now_ms = time.time_ns() // 1_000_000
        self._put([(point, now_ms) for point in points])

    def put_job(self, job: Job) -> None:
        """Queue any other writing."""
        self._put([job])

    def close(self, timeout_s: float) -> int:
        """Work off the queue within a bound, end the thread, and return how many writings were lost."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        self._given_up.set()
        with self._changed:
            return self._lost + len(self._queue)

    def _put(self, items: list[StampedPoint | Job]) -> None:
        with self._changed:
            if self._is_closing:
                raise ValueError("the run is finished: it takes no more writings")
            self._queue.extend(items)
            self._changed.notify()

    def _work(self) -> None:
        while batch := self._next():
            written = self._write_patiently(batch)
            if self._given_up.is_set():
                return
            with self._changed:
                self._lost += 0 if written else len(batch)
                for _ in batch:
                    self._queue.popleft()

    def _next(self) -> list[StampedPoint | Job]:
        """Wait for work; return a single job or the points up to the next job, left in the queue; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_closing)
            batch: list[StampedPoint | Job] = []
            for item in self._queue:
                if callable(item):
                    return batch or [item]
                batch.append(item)
                if len(batch) == POINTS_PER_WRITE:
                    break
            return batch

    def _write_patiently(self, batch: list[StampedPoint | Job]) -> bool:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                self._write(batch)
            except Exception as error:  # whatever a store may raise: nobody else is there to catch it
                if not self._is_passing(error):
                    log.error("tracking lost %d writings: %s", len(batch), _first_line(error))
                    return False
                log.warning("tracking store is away, will try again in %.0f s: %s", pause_s, _first_line(error))
                if self._given_up.wait(pause_s):
                    return False
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                return True

    def _write(self, batch: list[StampedPoint | Job]) -> None:
        points = [item for item in batch if not callable(item)]
        if points:
            self._write_points(points)
        for item in batch:
            if callable(item):
                item()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
