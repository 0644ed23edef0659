"""Word for the workers of a training to stop: from its driver, or from Ray when a node of theirs is taken back."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import ray
import ray.train
from ray.train.collective import broadcast_from_rank_zero

from rlq_ray.collectives import World

EVERY_S = 1.0
"""About how long a training takes no notice; asking takes some milliseconds."""
ANSWER_TIMEOUT_S = 5.0


class Notice:
    """Tells before a step whether to stop, alike on every worker of Ray Train's, without waiting for the device.

    The workers ask together, at the steps that the first one chooses by its pace, and hear the same answer.
    """

    def __init__(self, board: Any, world: World) -> None:
        self._board = board
        self._world = world
        self._next_step = 0
        self._asked_at: tuple[int, float] | None = None

    def __call__(self, step: int) -> bool:
        """Tell whether to stop before a step."""
        if step < self._next_step:
            return False
        is_taken_back = ray.train.get_preemption_info() is not None
        said = None if self._world.rank else (self._is_told(), step + self._steps_until_next(step))
        is_told, self._next_step = broadcast_from_rank_zero(said)
        return is_taken_back or is_told

    def _is_told(self) -> bool:
        with contextlib.suppress(ray.exceptions.RayError):  # the board may come back, and is told again
            return bool(ray.get(self._board.is_to_stop.remote(), timeout=ANSWER_TIMEOUT_S))
        return False

    def _steps_until_next(self, step: int) -> int:
        last, self._asked_at = self._asked_at, (step, time.monotonic())
        if last is None:
            return 1
        (last_step, last_s), (_, now_s) = last, self._asked_at
        return max(1, int((step - last_step) / (now_s - last_s) * EVERY_S))
