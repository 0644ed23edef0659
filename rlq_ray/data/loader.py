"""Batches for one worker: rows in the order of the pure plan, read and decoded ahead of time by threads.

The position is a promise: a loader that is given another's `state_dict` goes on with exactly the batches that were
left. Knows neither Ray nor the training loop.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from rlq_ray.config.schema import DataConfig
from rlq_ray.data.assemble import Assembler, Labels
from rlq_ray.data.foresight import reads_of
from rlq_ray.data.partition import Rows
from rlq_ray.data.read_ahead import EpochPlan, ReadAhead
from rlq_ray.data.reader import DataSet
from rlq_ray.errors import CheckpointError
from rlq_ray.types import Batch, Foresight, LoaderCounts

CPU = torch.device("cpu")
WHOLE_SET = "the whole set"


class BatchLoader(ABC):
    """Endless batches of one rank with a position (epoch, step); the order of rows is left to the kind of loader.

    Up to `data.prefetch_batches` batches are made ready by `data.decode_threads` threads, and row groups are fetched
    `data.read_ahead_batches` before that by `data.read_threads`. What was made ready but not taken is no part of the
    position.
    """

    def __init__(
        self,
        dataset: DataSet,
        rows: Rows,
        labels: Labels,
        *,
        data: DataConfig,
        sampler: str,
        steps_per_epoch: int,
        with_masks: bool,
        device: torch.device,
    ) -> None:
        """Deliver `rows` in an order that `sampler` names."""
        self.sampler = sampler
        self._order = f"{dataset.manifest.name} {dataset.manifest.content_hash[:12]}, {sampler}"
        self.steps_per_epoch = steps_per_epoch
        self._dataset, self._data = dataset, data
        self._assembler = Assembler(dataset, labels, data=data, with_masks=with_masks, device=device)
        self._pool = ThreadPoolExecutor(data.decode_threads, thread_name_prefix="decode")
        self._planner = ThreadPoolExecutor(1, thread_name_prefix="plan")
        self._plans: dict[int, Future[EpochPlan]] = {}
        self._ahead: deque[Future[Batch]] = deque()
        self._all_rows, self._with_masks = rows, with_masks
        self._is_kept = fits_in_memory(dataset, rows, masks=with_masks)
        self._position = 0
        self._images, self._stall_s = 0, 0.0
        self._reading = ReadAhead(
            dataset,
            self._plan_of,
            steps=steps_per_epoch,
            masks=with_masks,
            threads=data.read_threads,
            batches=data.read_ahead_batches,
            is_kept=self._is_kept,
        )

    @abstractmethod
    def rows_of_epoch(self, epoch: int) -> Rows:
        """List this rank's rows of every batch of an epoch, `(steps, B)`."""

    def assemble(self, rows: Rows, epoch: int) -> Batch:  # noqa: ARG002
        """Read and decode a batch of an epoch, in one of the threads."""
        return self._assembler(rows)

    def next_batch(self) -> Batch:
        """Give the next batch, pinned if there is a CUDA device.

        Raises:
            DataError: an image or shard cannot be read.
            StorageError: the store stayed away.
        """
        began_s = time.monotonic()
        while len(self._ahead) <= self._data.prefetch_batches:
            self._submit(self._position + len(self._ahead))
        try:
            batch = self._ahead.popleft().result()
        except BaseException:  # an interruption, too
            self._go_to(self._position)  # the next call tries again
            raise
        self._stall_s += time.monotonic() - began_s
        self._reading.after(self._position)
        self._position += 1
        self._images += len(batch)
        self._forget_plans()
        return batch

    def counts(self) -> LoaderCounts:
        """Tell what was delivered, waited for and read so far."""
        read = self._dataset.counts()
        return LoaderCounts(
            images=self._images,
            stall_s=self._stall_s,
            read_bytes=read.bytes,
            requests=read.requests,
            retries=read.retries,
            hedges=read.hedges,
        )

    @property
    def held_bytes(self) -> int:
        """Bytes that the data set holds in memory now."""
        return self._dataset.held_bytes

    def foresee(self, epochs: int) -> Foresight:
        """Tell what the first epochs will read from the store, had they the data set's memory to themselves."""
        size_of = cache(lambda group: self._dataset.group_bytes(np.array([group], np.int32), masks=self._with_masks))
        plans = (self._lay_out(epoch) for epoch in range(epochs))
        read_bytes, held_bytes = reads_of(plans, size_of, max_bytes=self._dataset.cache_bytes, is_kept=self._is_kept)
        groups = np.unique(self._dataset.index.group[self._all_rows])
        all_bytes = self._dataset.group_bytes(groups, masks=self._with_masks)
        return Foresight(read_bytes, held_bytes, all_bytes, self._is_kept)

    def state_dict(self) -> dict[str, Any]:
        """Say which batch comes next, and of which order."""
        epoch, step = divmod(self._position, self.steps_per_epoch)
        return {"epoch": epoch, "step": step, "order": self._order}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the batch that a `state_dict` names.

        Raises:
            CheckpointError: batches come in another order now, or epochs have another number of steps.
        """
        order = state.get("order", self._order)  # checkpoints of before it was written lack it
        if order != self._order:
            raise CheckpointError(
                f"the checkpoint's batches came from {order}, now they come from {self._order}: resume with "
                "the data set and the data.window_mb that it was begun with"
            )
        if not 0 <= state["step"] < self.steps_per_epoch:
            raise CheckpointError(
                f"the checkpoint stopped at step {state['step']}, but an epoch now has {self.steps_per_epoch}: "
                "resume with the batch size and data set it was begun with"
            )
        self._go_to(state["epoch"] * self.steps_per_epoch + state["step"])

    def close(self) -> None:
        """Stop the threads and forget what they made ready."""
        self._drop_ahead()
        self._reading.stop()
        self._dataset.abandon_reads()
        self._reading.close()  # first, since the decoders wait for it
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._planner.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _submit(self, batch: int) -> None:
        self._reading.before(batch)
        epoch, step = divmod(batch, self.steps_per_epoch)
        self._ahead.append(self._pool.submit(self.assemble, self._plan_of(epoch).rows[step], epoch))

    def _plan_of(self, epoch: int) -> EpochPlan:
        """Give the plan of an epoch, and have the next one laid out meanwhile."""
        for coming in (epoch, epoch + 1):
            if coming not in self._plans:
                self._plans[coming] = self._planner.submit(self._lay_out, coming)
        return self._plans[epoch].result()

    def _forget_plans(self) -> None:
        for past in [known for known in self._plans if known < self._position // self.steps_per_epoch]:
            del self._plans[past]

    def _lay_out(self, epoch: int) -> EpochPlan:
        return EpochPlan.of(self.rows_of_epoch(epoch), self._dataset.index.group)

    def _go_to(self, batch: int) -> None:
        self._drop_ahead()
        self._position = batch
        self._reading.restart(batch)

    def _drop_ahead(self) -> None:
        while self._ahead:
            self._ahead.pop().cancel()


def groups_in_window(dataset: DataSet, rows: Rows, data: DataConfig) -> int | None:
    """Count the row groups that a window holds; None if it holds them all, and the set is drawn from as a whole.

    Only images count, so that the order does not depend on whether masks are read.
    """
    groups = np.unique(dataset.index.group[rows])
    total_mb = dataset.group_bytes(groups, masks=False) / 2**20
    if data.window_mb == "all" or total_mb <= data.window_mb:
        return None
    return max(1, int(data.window_mb * len(groups) / total_mb))


def fits_in_memory(dataset: DataSet, rows: Rows, *, masks: bool) -> bool:
    """Tell whether the row groups of some rows can all stay in the data set's memory."""
    return dataset.group_bytes(np.unique(dataset.index.group[rows]), masks=masks) <= dataset.cache_bytes
