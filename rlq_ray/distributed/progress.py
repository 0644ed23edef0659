"""How far a training is: told by the first worker, read by the driver, through one small Ray actor.

Ray Train hands results to its controller only; people want to see steps.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import ray

from rlq_ray.distributed.threads import looking_on
from rlq_ray.distributed.trial_task import Evaluated

POLL_S = 0.5


def nobody(_: object) -> None:
    """Take what nobody waits for."""


@dataclass(frozen=True)
class Progress:
    """Where a training stands: optimiser steps, speed over all workers, latest losses and validation metrics."""

    step: int
    total_steps: int
    epoch: int
    images_per_second: float
    losses: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


class ProgressBoard:
    """Holds the latest progress, the reason why a training gave up for good, and its driver's word to stop."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._fatal: tuple[type[Exception], str] | None = None
        self._is_to_stop = False

    def tell(self, progress: Progress) -> None:
        """Replace the progress."""
        self._progress = progress

    def give_up(self, kind: type[Exception], message: str) -> None:
        """Keep the first reason for giving up."""
        self._fatal = self._fatal or (kind, message)

    def read(self) -> Progress | None:
        """Return the latest progress."""
        return self._progress

    def fatal(self) -> tuple[type[Exception], str] | None:
        """Return the reason for giving up, if there is one."""
        return self._fatal

    def tell_to_stop(self) -> None:
        """Have the workers keep a checkpoint and end."""
        self._is_to_stop = True

    def is_to_stop(self) -> bool:
        """Tell whether they are to."""
        return self._is_to_stop


class Relay(ProgressBoard):
    """A board that hands evaluations from the first worker to the caller, who says up to which all were passed on."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[Evaluated] = []
        self._passed_on = 0
        self._is_over = False
        self._news = asyncio.Condition()

    async def hand_over(self, evaluated: Evaluated) -> None:
        """Wait until an evaluation was passed on, or the training is to end."""
        if evaluated.epoch > self._passed_on:
            self._waiting.append(evaluated)
        async with self._news:
            await self._news.wait_for(lambda: self._is_over or evaluated.epoch <= self._passed_on)

    async def exchange(self, epoch: int) -> list[Evaluated]:
        """Let the worker go on whose evaluation, up to that of an epoch, was passed on; give the one that was not."""
        self._passed_on = epoch
        self._waiting = [evaluated for evaluated in self._waiting if evaluated.epoch > epoch]
        async with self._news:
            self._news.notify_all()
        return self._waiting

    async def is_over(self) -> bool:
        """Tell whether the training is to end."""
        return self._is_over

    async def stop(self) -> None:
        """Have the training end with the evaluation that waits, or the next one."""
        self._is_over = True
        async with self._news:
            self._news.notify_all()


def start_board(kind: type[ProgressBoard] = ProgressBoard) -> Any:
    """Start a board as an actor that takes no CPU and comes back, empty, if its node dies."""
    return ray.remote(num_cpus=0, max_restarts=-1)(kind).remote()


@contextlib.contextmanager
def watched(board: Any, show: Callable[[Progress], None] | None) -> Iterator[None]:
    """Pass progress on to `show`, from a thread of its own, for as long as the block runs."""
    if show is None:
        yield
        return
    seen: Progress | None = None

    def look() -> None:
        nonlocal seen
        with contextlib.suppress(ray.exceptions.RayError):
            progress = ray.get(board.read.remote(), timeout=10)
            if progress is not None and progress != seen:
                show(progress)
                seen = progress

    with looking_on(look, every_s=POLL_S, name="rlq-progress"):
        yield
