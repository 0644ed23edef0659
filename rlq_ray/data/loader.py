"""Batches for one worker: rows in the order of the pure plan, read and decoded ahead of time by threads.

The position is a promise: a loader that is given another's `state_dict` goes on with exactly the batches that were
left. Knows neither Ray nor the training loop.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np
import torch

from rlq_ray.config.schema import DataConfig
from rlq_ray.data.assemble import Assembler, Labels
from rlq_ray.data.partition import Rows
from rlq_ray.data.read_ahead import EpochPlan, ReadAhead
from rlq_ray.data.reader import DataSet
from rlq_ray.errors import CheckpointError, UsageError
from rlq_ray.types import Batch, LoaderCounts

CPU = torch.device("cpu")


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
        steps_per_epoch: int,
        with_masks: bool,
        device: torch.device,
    ) -> None:
        self.steps_per_epoch = steps_per_epoch
        self._dataset, self._data = dataset, data
        self._assembler = Assembler(dataset, labels, data=data, with_masks=with_masks, device=device)
        self._pool = ThreadPoolExecutor(data.decode_threads, thread_name_prefix="decode")
        self._planner = ThreadPoolExecutor(1, thread_name_prefix="plan")
        self._plans: dict[int, Future[EpochPlan]] = {}
        self._ahead: deque[Future[Batch]] = deque()
        self._position = 0
        self._images, self._stall_s = 0, 0.0
        self._reading = ReadAhead(
            dataset,
            self._plan_of,
            steps=steps_per_epoch,
            masks=with_masks,
            threads=data.read_threads,
            batches=data.read_ahead_batches,
            is_kept=fits_in_memory(dataset, rows, data, with_masks),
        )

    @abstractmethod
    def rows_of_epoch(self, epoch: int) -> Rows:
        """List this rank's rows of every batch of an epoch, `(steps, B)`."""

    def next_batch(self) -> Batch:
        """Give the next batch, pinned if there is a CUDA device.

        Raises:
            DataError: an image or shard cannot be read.
            StorageError: the store stayed away.
        """
        while len(self._ahead) <= self._data.prefetch_batches:
            self._submit(self._position + len(self._ahead))
        began_s = time.monotonic()
        batch = self._ahead[0].result()
        self._stall_s += time.monotonic() - began_s
        self._ahead.popleft()  # only now, so that a batch that failed keeps its place
        self._reading.after(self._position)
        self._position += 1
        self._images += len(batch)
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

    def state_dict(self) -> dict[str, int]:
        """Say which batch comes next."""
        epoch, step = divmod(self._position, self.steps_per_epoch)
        return {"epoch": epoch, "step": step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on with the batch that a `state_dict` names.

        Raises:
            CheckpointError: epochs had another number of steps.
        """
        if not 0 <= state["step"] < self.steps_per_epoch:
            raise CheckpointError(
                f"the checkpoint stopped at step {state['step']}, but an epoch now has {self.steps_per_epoch}: "
                "resume with the batch size and data set it was begun with"
            )
        self._drop_ahead()
        self._position = state["epoch"] * self.steps_per_epoch + state["step"]
        self._reading.restart(self._position)

    def close(self) -> None:
        """Stop the threads and forget what they made ready."""
        self._drop_ahead()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._reading.close()
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
        self._ahead.append(self._pool.submit(self._assembler, self._plan_of(epoch).rows[step]))

    def _plan_of(self, epoch: int) -> EpochPlan:
        """Give the plan of an epoch, and have the next one laid out meanwhile."""
        for coming in (epoch, epoch + 1):
            if coming not in self._plans:
                self._plans[coming] = self._planner.submit(self._lay_out, coming)
        for past in [known for known in self._plans if known < epoch - 1]:
            del self._plans[past]
        return self._plans[epoch].result()

    def _lay_out(self, epoch: int) -> EpochPlan:
        return EpochPlan.of(self.rows_of_epoch(epoch), self._dataset.index.group)

    def _drop_ahead(self) -> None:
        while self._ahead:
            self._ahead.pop().cancel()


def window_groups(dataset: DataSet, rows: Rows, data: DataConfig, *, lanes: int, masks: bool) -> int | None:
    """Count the row groups that a window holds; None if it holds them all, and the set is drawn from as a whole.

    Raises:
        UsageError: it holds fewer than a batch has lanes.
    """
    groups = np.unique(dataset.index.group[rows])
    total_mb = dataset.group_bytes(groups, masks=masks) / 2**20
    if data.window_mb == "all" or total_mb <= data.window_mb:
        return None
    window_groups = int(data.window_mb * len(groups) / total_mb)
    if window_groups < lanes:
        raise UsageError(
            f"data.window_mb={data.window_mb:g} holds {window_groups} row groups of {dataset.location}, but a batch "
            f"draws from {lanes} at once: set it to {math.ceil(lanes * total_mb / len(groups))} or more"
        )
    return window_groups


def fits_in_memory(dataset: DataSet, rows: Rows, data: DataConfig, masks: bool) -> bool:
    """Tell whether the row groups of some rows can stay in memory."""
    return dataset.group_bytes(np.unique(dataset.index.group[rows]), masks=masks) <= data.cache_mb * 2**20
