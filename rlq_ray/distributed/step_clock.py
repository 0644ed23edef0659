"""What steps take on the device, by phase, without waiting for it."""

from __future__ import annotations

import time
from collections import defaultdict
from itertools import pairwise

import torch


class StepClock:
    """Sets a mark behind every step; the time between two marks is that of a step, with all it waited for.

    On CUDA a mark is an event in the stream, since the host is done with a step long before the device.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_cuda = device.type == "cuda"
        self._marks: list[tuple[str, torch.cuda.Event | float]] = []
        self.restart()

    def restart(self) -> None:
        """Begin to measure here; steps that were not read are forgotten."""
        self._marks = [("", self._mark())]

    def after_step(self, phase: str) -> None:
        """Set the mark behind a step."""
        self._marks.append((phase, self._mark()))

    def read(self) -> dict[str, float]:
        """Give the seconds of each phase since the last reading, up to the last mark that the device has passed."""
        seconds: dict[str, float] = defaultdict(float)
        passed = 0
        for (_, before), (phase, after) in pairwise(self._marks):
            if not _is_passed(after):
                break
            seconds[phase] += _seconds_between(before, after)
            passed += 1
        del self._marks[:passed]
        return dict(seconds)

    def _mark(self) -> torch.cuda.Event | float:
        if not self._on_cuda:
            return time.monotonic()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def _is_passed(mark: torch.cuda.Event | float) -> bool:
    return isinstance(mark, float) or mark.query()


def _seconds_between(before: torch.cuda.Event | float, after: torch.cuda.Event | float) -> float:
    if isinstance(before, float) or isinstance(after, float):
        assert isinstance(before, float)
        assert isinstance(after, float)
        return after - before
    return before.elapsed_time(after) / 1e3
