"""How well a worker is served with data, as metrics. Knows counts, neither loaders nor trackers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from rlq_ray.types import LoaderCounts


class LoadingMetrics:
    """Differences of the phases' counts since they were looked at last.

    Names are `loading/<phase>/…`: `stall_share` is the share of the time that the worker waited for batches,
    `read_mb_per_second` what came from the store (MB are 10⁶ bytes), `retries` and `hedges` count all so far.
    """

    def __init__(self, counts_of: Mapping[str, Callable[[], LoaderCounts]]) -> None:
        self._counts_of = counts_of
        self._last = {phase: counts() for phase, counts in counts_of.items()}
        self._since_s = time.monotonic()

    def since_last(self) -> dict[str, float]:
        """Give the metrics, and begin anew."""
        now_s = time.monotonic()
        passed_s = max(now_s - self._since_s, 1e-9)
        metrics = {}
        for phase, counts in self._counts_of.items():
            now, last = counts(), self._last[phase]
            metrics[f"loading/{phase}/stall_share"] = (now.stall_s - last.stall_s) / passed_s
            metrics[f"loading/{phase}/read_mb_per_second"] = (now.read_bytes - last.read_bytes) / 1e6 / passed_s
            metrics[f"loading/{phase}/retries"] = float(now.retries)
            metrics[f"loading/{phase}/hedges"] = float(now.hedges)
            self._last[phase] = now
        self._since_s = now_s
        return metrics
