"""Batches for one worker: rows in the order of the pure plan, decoded ahead of time by threads.

The position is a promise: a loader that is given another's `state_dict` goes on with exactly the batches that were
left. Knows neither Ray nor the training loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np

from rlq_ray.config.schema import BatchConfig, DataConfig
from rlq_ray.data.assemble import Labels, assemble_batch
from rlq_ray.data.identity_sampler import identity_batches, num_identity_steps
from rlq_ray.data.partition import Rows, rank_part, shuffled_batches
from rlq_ray.data.reader import DataSet
from rlq_ray.errors import CheckpointError
from rlq_ray.types import Batch, ClassSpace


class BatchLoader(ABC):
    """Endless batches of one rank with a position (epoch, step); the order of rows is left to the kind of loader.

    Up to `data.prefetch_batches` batches are made ready by `data.decode_threads` threads. What was made ready but not
    taken is no part of the position.
    """

    def __init__(
        self, dataset: DataSet, labels: Labels, *, data: DataConfig, steps_per_epoch: int, with_masks: bool
    ) -> None:
        self.steps_per_epoch = steps_per_epoch
        self._dataset, self._labels, self._data, self._with_masks = dataset, labels, data, with_masks
        self._pool = ThreadPoolExecutor(data.decode_threads, thread_name_prefix="decode")
        self._ahead: deque[Future[Batch]] = deque()
        self._epoch, self._step = 0, 0
        self._plan_epoch, self._plan = -1, np.empty((0, 0), dtype=np.int64)

    @abstractmethod
    def rows_of_epoch(self, epoch: int) -> Rows:
        """List this rank's rows of every batch of an epoch, `(steps, B)`."""

    def next_batch(self) -> Batch:
        """Give the next batch, pinned if there is a CUDA device.

        Raises:
            DataError: an image or shard cannot be read.
        """
        while len(self._ahead) <= self._data.prefetch_batches:
            self._submit(self._epoch, self._step + len(self._ahead))
        batch = self._ahead[0].result()
        self._ahead.popleft()  # only now, so that a batch that failed keeps its place
        self._step += 1
        if self._step == self.steps_per_epoch:
            self._epoch, self._step = self._epoch + 1, 0
        return batch

    def state_dict(self) -> dict[str, int]:
        """Say which batch comes next."""
        return {"epoch": self._epoch, "step": self._step}

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
        self._epoch, self._step = state["epoch"], state["step"]

    def close(self) -> None:
        """Stop the threads and forget what they made ready."""
        self._drop_ahead()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _submit(self, epoch: int, step: int) -> None:
        epoch, step = epoch + step // self.steps_per_epoch, step % self.steps_per_epoch
        if epoch != self._plan_epoch:
            self._plan_epoch, self._plan = epoch, self.rows_of_epoch(epoch)
        self._ahead.append(self._pool.submit(self._assemble, self._plan[step]))

    def _assemble(self, rows: Rows) -> Batch:
        return assemble_batch(
            self._dataset,
            rows,
            self._labels,
            height=self._data.canvas_height,
            width=self._data.canvas_width,
            with_masks=self._with_masks,
        )

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
    ) -> None:
        """Plan over `rows`, labelled by `classes`.

        Raises:
            DataError: fewer identities than a batch has.
            UsageError: identities that the workers cannot share evenly.
        """
        labels = Labels.of_classes(dataset, classes)
        self._rows, self._batch, self._seed, self._rank, self._world_size = rows, batch, seed, rank, world_size
        self._identity, self._clothes = labels.identity[rows], labels.clothes[rows]
        steps = steps_per_epoch or num_identity_steps(len(rows), batch.identities, batch.images_per_identity)
        super().__init__(dataset, labels, data=data, steps_per_epoch=steps, with_masks=with_masks)
        rank_part(self.global_batches(0)[0], rank, world_size)

    def global_batches(self, epoch: int) -> Rows:
        """Order an epoch over all workers: row numbers `(steps, P, K)`."""
        return identity_batches(
            self._rows,
            self._identity,
            self._clothes,
            num_identities=self._batch.identities,
            images_per_identity=self._batch.images_per_identity,
            steps=self.steps_per_epoch,
            seed=self._seed,
            epoch=epoch,
        )

    def rows_of_epoch(self, epoch: int) -> Rows:
        """List this rank's rows of every batch of an epoch, `(steps, B)`, an identity's images side by side."""
        parts = [rank_part(batch, self._rank, self._world_size).ravel() for batch in self.global_batches(epoch)]
        return np.stack(parts)


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
    ) -> None:
        """Plan over `rows`.

        Raises:
            DataError: fewer images than a batch has.
            UsageError: images that the workers cannot share evenly.
        """
        self._rows, self._batch, self._seed, self._rank, self._world_size = rows, batch, seed, rank, world_size
        steps = len(shuffled_batches(len(rows), batch.external_images, seed=seed, epoch=0))
        super().__init__(dataset, Labels.unknown(dataset), data=data, steps_per_epoch=steps, with_masks=False)
        rank_part(self.global_batches(0)[0], rank, world_size)

    def global_batches(self, epoch: int) -> Rows:
        """Order an epoch over all workers: row numbers `(steps, B)`."""
        batches = shuffled_batches(len(self._rows), self._batch.external_images, seed=self._seed, epoch=epoch)
        return self._rows[batches]

    def rows_of_epoch(self, epoch: int) -> Rows:
        """List this rank's rows of every batch of an epoch, `(steps, B)`."""
        return np.stack([rank_part(batch, self._rank, self._world_size) for batch in self.global_batches(epoch)])


def iterate_rows(
    dataset: DataSet, rows: Rows, *, batch_images: int, data: DataConfig, with_masks: bool = False
) -> Iterator[Batch]:
    """Give the images of `rows` in order, in batches of which the last may be short.

    Identity and clothes are numbered over the whole data set, so that query and gallery agree.

    Raises:
        DataError: an image or shard cannot be read.
    """
    labels = Labels.of_data_set(dataset)
    parts = [rows[start : start + batch_images] for start in range(0, len(rows), batch_images)]
    ahead: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(data.decode_threads, thread_name_prefix="decode") as pool:
        try:
            for part in parts:
                ahead.append(
                    pool.submit(
                        assemble_batch,
                        dataset,
                        part,
                        labels,
                        height=data.canvas_height,
                        width=data.canvas_width,
                        with_masks=with_masks,
                    )
                )
                if len(ahead) > data.prefetch_batches:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
