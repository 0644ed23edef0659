"""What the training loop knows of an objective.

The loop never asks which objective runs: a variant is another phase, or a setting of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from rlq_ray.types import Batch, Foresight, LoaderCounts


@dataclass(frozen=True)
class Moment:
    """Where the training stands: optimiser steps of both phases done, and CAP epochs begun (from 0)."""

    step: int
    epoch: int


class Loader(Protocol):
    """An endless sequence of batches whose place can be kept; all workers have as many in an epoch."""

    sampler: str
    """What batches are drawn from, for people."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""

    def next_batch(self) -> Batch:
        """Take the next batch."""

    def state_dict(self) -> dict[str, Any]:
        """Tell the place, in plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a place."""

    def counts(self) -> LoaderCounts:
        """Tell what was delivered, waited for and read so far."""

    @property
    def held_bytes(self) -> int:
        """Bytes that the data set holds in memory now."""

    def foresee(self, epochs: int) -> Foresight:
        """Tell what the first epochs will read from the store."""

    def close(self) -> None:
        """End the threads that read ahead."""


class Phase(Protocol):
    """One of the alternating objectives.

    `name` names its losses where they are tracked.
    """

    name: str

    @property
    def loader(self) -> Loader:
        """The data that it trains on."""

    def losses(self, batch: Batch, moment: Moment) -> dict[str, Tensor]:
        """Weighted terms of the objective, each a scalar with gradient; their sum is minimised.

        The same names in the same order on every worker.
        """
