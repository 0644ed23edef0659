"""Batches for one worker: rows in the order of the pure plan, read and decoded ahead of time by threads.

The position is a promise: a loader that is given another's `state_dict` goes on with exactly the batches that were
left. Knows neither Ray nor the training loop.
"""

from __future__ import annotations

import contextlib
import math
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np
import torch

from rlq_ray.config.schema import BatchConfig, DataConfig
from rlq_ray.data.assemble import Assembler, Labels
from rlq_ray.data.identity_sampler import identity_batches, num_identity_steps
from rlq_ray.data.partition import Rows, rank_share, shuffled_batches
from rlq_ray.data.read_ahead import EpochPlan, ReadAhead
from rlq_ray.data.reader import DataSet
from rlq_ray.data.window import IdentityWindow, ImageWindow, num_lanes
from rlq_ray.errors import CheckpointError, UsageError
from rlq_ray.types import Batch, ClassSpace, LoaderCounts

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
            is_kept=_fits(dataset, rows, data, with_masks),
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


class TargetLoader(BatchLoader):
    """Labelled batches of P identities × K images; each rank takes P / world_size of the identities."""

    def __init__(
        self,
        dataset: DataSet,
        rows: Rows,
        classes: ClassSpace,
        *,
        batch: BatchConfig,
        data: DataConfig,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        steps_per_epoch: int | None = None,
        with_masks: bool = False,
        device: torch.device = CPU,
    ) -> None:
        """Plan over `rows`, labelled by `classes`; a CUDA `device` may decode.

        Raises:
            DataError: fewer identities than a batch has.
            UsageError: identities that the workers cannot share evenly, or a window too small for a batch.
        """
        labels = Labels.of_classes(dataset, classes)
        self._rows, self._identity, self._clothes = rows, labels.identity[rows], labels.clothes[rows]
        self._batch, self._seed = batch, seed
        self._share = rank_share(batch.identities, rank, world_size)
        steps = steps_per_epoch or num_identity_steps(len(rows), batch.identities, batch.images_per_identity)
        window_groups = _window_groups(dataset, rows, data, lanes=batch.identities, masks=with_masks)
        self._window = window_groups and IdentityWindow(
            rows,
            dataset.index.group[rows],
            self._identity,
            self._clothes,
            num_identities=batch.identities,
            images_per_identity=batch.images_per_identity,
            window_groups=window_groups,
            seed=seed,
        )
        super().__init__(dataset, rows, labels, data=data, steps_per_epoch=steps, with_masks=with_masks, device=device)

    def rows_of_epoch(self, epoch: int) -> Rows:
        """List this rank's rows of every batch of an epoch, `(steps, B)`, an identity's images side by side."""
        if self._window:
            batches = self._window.places(self._share, steps=self.steps_per_epoch, epoch=epoch)
            return batches.reshape(self.steps_per_epoch, -1)
        batches = identity_batches(
            self._rows,
            self._identity,
            self._clothes,
            num_identities=self._batch.identities,
            images_per_identity=self._batch.images_per_identity,
            steps=self.steps_per_epoch,
            seed=self._seed,
            epoch=epoch,
        )
        return batches[:, self._share].reshape(self.steps_per_epoch, -1)


class ExternalLoader(BatchLoader):
    """Unlabelled batches (all labels −1), reshuffled every epoch; each rank takes B / world_size of the images."""

    def __init__(
        self,
        dataset: DataSet,
        rows: Rows,
        *,
        batch: BatchConfig,
        data: DataConfig,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device = CPU,
    ) -> None:
        """Plan over `rows`; a CUDA `device` may decode.

        Raises:
            DataError: fewer images than a batch has.
            UsageError: images that the workers cannot share evenly, or a window too small for a batch.
        """
        self._rows, self._batch, self._seed = rows, batch, seed
        self._share = rank_share(batch.external_images, rank, world_size)
        steps = len(shuffled_batches(len(rows), batch.external_images, seed=seed, epoch=0))
        lanes = num_lanes(batch.external_images)
        window_groups = _window_groups(dataset, rows, data, lanes=lanes, masks=False)
        self._window = window_groups and ImageWindow(
            rows,
            dataset.index.group[rows],
            num_images=batch.external_images,
            window_groups=window_groups,
            seed=seed,
        )
        super().__init__(
            dataset,
            rows,
            Labels.unknown(dataset),
            data=data,
            steps_per_epoch=steps,
            with_masks=False,
            device=device,
        )

    def rows_of_epoch(self, epoch: int) -> Rows:
        """List this rank's rows of every batch of an epoch, `(steps, B)`."""
        if self._window:
            return self._window.places(self._share, epoch=epoch)
        batches = shuffled_batches(len(self._rows), self._batch.external_images, seed=self._seed, epoch=epoch)
        return self._rows[batches[:, self._share]]


def _window_groups(dataset: DataSet, rows: Rows, data: DataConfig, *, lanes: int, masks: bool) -> int | None:
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


def iterate_rows(
    dataset: DataSet,
    rows: Rows,
    *,
    batch_images: int,
    data: DataConfig,
    with_masks: bool = False,
    device: torch.device = CPU,
) -> Iterator[Batch]:
    """Give the images of `rows` in order, in batches of which the last may be short.

    Identity and clothes are numbered over the whole data set, so that query and gallery agree.

    Raises:
        DataError: an image or shard cannot be read.
    """
    parts = [rows[start : start + batch_images] for start in range(0, len(rows), batch_images)]
    if not parts:
        return
    plan = EpochPlan.of(parts, dataset.index.group)
    assembler = Assembler(dataset, Labels.of_data_set(dataset), data=data, with_masks=with_masks, device=device)
    reading = ReadAhead(
        dataset,
        lambda _: plan,
        steps=len(parts),
        masks=with_masks,
        threads=data.read_threads,
        batches=data.read_ahead_batches,
        is_kept=_fits(dataset, rows, data, with_masks),
    )
    ahead: deque[Future[Batch]] = deque()
    submitted = 0
    with ThreadPoolExecutor(data.decode_threads, thread_name_prefix="decode") as pool, contextlib.closing(reading):
        try:
            for number in range(len(parts)):
                while submitted < min(number + 1 + data.prefetch_batches, len(parts)):
                    reading.before(submitted, end=len(parts))
                    ahead.append(pool.submit(assembler, parts[submitted]))
                    submitted += 1
                yield ahead.popleft().result()
                reading.after(number)
        finally:
            for future in ahead:
                future.cancel()


def _fits(dataset: DataSet, rows: Rows, data: DataConfig, masks: bool) -> bool:
    """Tell whether the row groups of some rows can stay in memory."""
    return dataset.group_bytes(np.unique(dataset.index.group[rows]), masks=masks) <= data.cache_mb * 2**20
