"""Why a sweep stands still: what the cluster has no room for is told of, instead of waited for in silence."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.placement_group import placement_group_table

from rlq_ray.distributed.threads import looking_on
from tuning.room import Need

LOOK_S = 2.0
PATIENCE_S = 20.0
"""Trainings may wait for so long while none runs before it is told: an actor starts in less."""
REPEAT_S = 300.0


@dataclass
class Waiting:
    """What Tune's loop knows of its trials; `controller` is there once the first one is, `moved_s` its last news.

    `has_groups` says whether trials have workers of their own.
    """

    has_groups: bool = False
    controller: Any = None
    moved_s: float = -math.inf

    def note(self, controller: Any) -> None:
        """Take note that a trial was added or has reported."""
        self.controller, self.moved_s = controller, time.monotonic()

    def is_stuck(self) -> bool:
        """Tell whether trials wait and none runs, or workers of those that run are not placed."""
        if self.controller is None:
            return False
        try:
            states = {trial.status for trial in self.controller.get_live_trials()}
        except RuntimeError:  # the set changes meanwhile, so something moves
            return False
        if "RUNNING" in states:
            return self.has_groups and any(group["state"] == "PENDING" for group in placement_group_table().values())
        return "PENDING" in states


def explain(need: Need, free: Mapping[str, float], whole: Mapping[str, float]) -> str:
    """Say with the arithmetic why nothing is placed.

    Args:
        need: what a training takes.
        free: what nobody holds in the cluster.
        whole: what the cluster has.
    """
    lacking = [kind for kind, amount in need.whole.items() if free.get(kind.upper(), 0) < amount] or list(need.each)
    parts = [
        f"{free.get(kind.upper(), 0):g} of the cluster's {whole.get(kind.upper(), 0):g} {kind.upper()} are free"
        for kind in lacking
    ]
    return (
        f"waiting for room for a training: it takes {need}, and {' and '.join(parts)}; end what holds the others "
        "(`rlq reap` frees what dead drivers left), or add nodes"
    )


@contextlib.contextmanager
def watched(waiting: Waiting, need: Need, tell: Callable[[str], None]) -> Iterator[None]:
    """Look on while the block runs, and tell when nothing can be placed."""
    since_s = time.monotonic()
    told_s = -math.inf

    def look() -> None:
        nonlocal since_s, told_s
        now_s = time.monotonic()
        if not waiting.is_stuck():
            since_s = now_s
        elif now_s - max(since_s, waiting.moved_s) > PATIENCE_S and now_s - told_s > REPEAT_S:
            told_s = now_s
            with contextlib.suppress(ray.exceptions.RayError):
                tell(explain(need, ray.available_resources(), ray.cluster_resources()))

    with looking_on(look, every_s=LOOK_S, name="rlq-pending"):
        yield
