"""What a training of a sweep is given, what it reports, and how it ends. Loads without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rlq_ray.distributed.runs import RunState

FINAL: tuple[RunState, ...] = ("finished", "diverged", "stopped early")
"""States that a training does not leave; one that failed is tried again when it is called again."""


@dataclass(frozen=True)
class TrialTask:
    """What a training of a sweep is given.

    `settings` are the whole configuration in plain values. `parent` is another training of the sweep with the same
    network, from whose state after `parent_epoch` CAP epochs this one goes on. It ends with the first evaluation from
    the CAP epoch `until_epoch` on, or where the configuration says. `on_gpu` says whether the process has a GPU of its
    own.
    """

    run: str
    settings: dict[str, Any]
    store: str
    tracking_uri: str | None = None
    run_id: str | None = None
    parent: str | None = None
    parent_epoch: int = 0
    until_epoch: int | None = None
    on_gpu: bool = False


@dataclass(frozen=True)
class Evaluated:
    """What a training reports after an evaluation: CAP epoch, flat metrics, and seconds and images so far."""

    epoch: int
    metrics: dict[str, float]
    seconds: float
    images: int


@dataclass(frozen=True)
class TrialEnd:
    """How a training ended; `reason` says why, where it did not finish."""

    state: RunState
    reason: str = ""
