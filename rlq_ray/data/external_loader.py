"""Unlabelled batches, each image once an epoch, from the whole set or from a window of it."""

from __future__ import annotations

import torch

from rlq_ray.config.schema import BatchConfig, DataConfig
from rlq_ray.data.assemble import Labels
from rlq_ray.data.loader import CPU, WHOLE_SET, BatchLoader, groups_in_window
from rlq_ray.data.partition import Rows, num_full_batches, rank_share, shuffled_batches
from rlq_ray.data.reader import DataSet
from rlq_ray.data.teacher_features import TeacherFeatures
from rlq_ray.data.window import ImageWindow
from rlq_ray.types import Batch


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
        features: TeacherFeatures | None = None,
    ) -> None:
        """Plan over `rows`; a CUDA `device` may decode, and `features` come with the batches.

        Raises:
            DataError: fewer images than a batch has.
            UsageError: images that the workers cannot share evenly, or a window too small for a batch.
        """
        self._rows, self._batch, self._seed, self._features = rows, batch, seed, features
        self._share = rank_share(batch.external_images, rank, world_size)
        steps = num_full_batches(len(rows), batch.external_images)
        sampler, self._window = WHOLE_SET, None
        window_groups = groups_in_window(dataset, rows, data)
        if window_groups is not None:
            group = dataset.index.group[rows]
            images = batch.external_images
            self._window = ImageWindow(rows, group, num_images=images, window_groups=window_groups, seed=seed)
            sampler = f"a window of {window_groups} row groups in {self._window.num_lanes} lanes"
        super().__init__(
            dataset,
            rows,
            Labels.unknown(dataset),
            data=data,
            sampler=sampler,
            steps_per_epoch=steps,
            with_masks=False,
            device=device,
        )

    def assemble(self, rows: Rows, epoch: int) -> Batch:
        """Read and decode a batch of an epoch, and look up the teacher's features under its draw."""
        batch = super().assemble(rows, epoch)
        return self._features.onto(batch, epoch) if self._features else batch

    def rows_of_epoch(self, epoch: int) -> Rows:
        """List this rank's rows of every batch of an epoch, `(steps, B)`."""
        if self._window is not None:
            return self._window.places(self._share, epoch=epoch)
        batches = shuffled_batches(len(self._rows), self._batch.external_images, seed=self._seed, epoch=epoch)
        return self._rows[batches[:, self._share]]
