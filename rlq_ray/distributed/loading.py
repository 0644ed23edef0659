"""How well a worker is served with data. Knows counts, neither loaders nor trackers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rlq_ray.types import LoaderCounts


@dataclass(frozen=True)
class Served:
    """What a worker's loaders did over some seconds, and in all, by phase."""

    seconds: float
    lately: Mapping[str, LoaderCounts]
    in_all: Mapping[str, LoaderCounts]

    def metrics(self) -> dict[str, float]:
        """Give it as metrics.

        Names are `loading/<phase>/…`: `stall_share` is the share of the time that the worker waited for batches,
        `read_mb_per_second` what came from the store (MB are 10⁶ bytes), `retries` and `hedges` count all so far.
        """
        metrics = {}
        for phase, counts in self.lately.items():
            metrics[f"loading/{phase}/stall_share"] = counts.stall_s / self.seconds
            metrics[f"loading/{phase}/read_mb_per_second"] = counts.read_bytes / 1e6 / self.seconds
            metrics[f"loading/{phase}/retries"] = float(self.in_all[phase].retries)
            metrics[f"loading/{phase}/hedges"] = float(self.in_all[phase].hedges)
        return metrics


class Loading:
    """The counts of the phases' loaders, and what they were when they were looked at last."""

    def __init__(self, counts_of: Mapping[str, Callable[[], LoaderCounts]]) -> None:
        self._counts_of = counts_of
        self._last = {phase: counts() for phase, counts in counts_of.items()}
        self._since_s = time.monotonic()

    def since_last(self) -> Served:
        """Say what the loaders did since, and begin anew."""
        now_s, now = time.monotonic(), {phase: counts() for phase, counts in self._counts_of.items()}
        lately = {phase: counts - self._last[phase] for phase, counts in now.items()}
        served = Served(max(now_s - self._since_s, 1e-9), lately, now)
        self._last, self._since_s = now, now_s
        return served
