"""Row groups fetched before the batches that need them, and forgotten after the last one. Knows no stores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rlq_ray.data.open_groups import GroupKey
from rlq_ray.data.partition import Rows
from rlq_ray.data.reader import DataSet


@dataclass(frozen=True)
class EpochPlan:
    """The batches of an epoch: their rows, the row groups each needs, and those that no later batch needs."""

    rows: Sequence[Rows]
    groups: Sequence[NDArray[np.int32]]
    closing: Sequence[NDArray[np.int32]]

    @classmethod
    def of(cls, rows: Sequence[Rows] | Rows, group: NDArray[np.int32]) -> Self:
        """Look up which row groups the batches need; `group` is the index's column."""
        groups = [np.unique(group[batch]) for batch in rows]
        last_use = {number: step for step, needed in enumerate(groups) for number in needed.tolist()}
        closing = [
            np.array([number for number in needed.tolist() if last_use[number] == step], dtype=np.int32)
            for step, needed in enumerate(groups)
        ]
        return cls(list(rows), groups, closing)


class ReadAhead:
    """Reads for one loader, some batches ahead of those that are decoded, by threads of its own.

    Batches are numbered on from epoch to epoch; batch n is step `n % steps` of epoch `n // steps`.
    """

    def __init__(
        self,
        dataset: DataSet,
        plan_of: Callable[[int], EpochPlan],
        *,
        steps: int,
        masks: bool,
        threads: int,
        batches: int,
        is_kept: bool,
    ) -> None:
        """Read `batches` ahead by the plans of epochs of `steps`; with `is_kept` nothing is forgotten."""
        self._dataset, self._plan_of, self._steps, self._masks = dataset, plan_of, steps, masks
        self._batches, self._is_kept = batches, is_kept
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="read")
        self._awaited: Counter[int] = Counter()
        self._next = 0

    def restart(self, batch: int) -> None:
        """Go on at another batch."""
        self._awaited.clear()
        self._next = batch

    def before(self, batch: int, end: int | None = None) -> None:
        """Request what this batch and the next ones need, those before `end`."""
        beyond = batch + self._batches + 1
        for number in range(self._next, beyond if end is None else min(beyond, end)):
            for group in self._plan_of(number // self._steps).groups[number % self._steps].tolist():
                self._awaited[group] += 1
                self._dataset.request(GroupKey(group, self._masks), self._pool)
        self._next = max(self._next, beyond)

    def after(self, batch: int) -> None:
        """Take note that a batch is done."""
        plan, step = self._plan_of(batch // self._steps), batch % self._steps
        self._awaited.subtract(plan.groups[step].tolist())
        if self._is_kept:
            return
        for group in plan.closing[step].tolist():
            if self._awaited[group] <= 0:  # else the next epoch begins with it
                self._dataset.release(GroupKey(group, self._masks))

    def stop(self) -> None:
        """Begin no further reads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End the threads; those that read finish it first."""
        self._pool.shutdown(wait=True, cancel_futures=True)
