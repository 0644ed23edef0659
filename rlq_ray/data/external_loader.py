"""Unlabelled batches, each image once an epoch, from the whole set or from a window of it."""

from __future__ import annotations

import torch

from rlq_ray.config.schema import BatchConfig, DataConfig
from rlq_ray.data.assemble import Labels
from rlq_ray.data.loader import CPU, BatchLoader, window_groups
from rlq_ray.data.partition import Rows, rank_share, shuffled_batches
from rlq_ray.data.reader import DataSet
from rlq_ray.data.window import ImageWindow, num_lanes


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
        open_groups = window_groups(dataset, rows, data, lanes=lanes, masks=False)
        self._window = open_groups and ImageWindow(
            rows,
            dataset.index.group[rows],
            num_images=batch.external_images,
            window_groups=open_groups,
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
