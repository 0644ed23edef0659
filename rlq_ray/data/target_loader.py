"""Labelled batches of P identities × K images, from the whole set or from a window of it."""

from __future__ import annotations

import numpy as np
import torch

from rlq_ray.config.schema import BatchConfig, DataConfig
from rlq_ray.data.assemble import Labels
from rlq_ray.data.identity_sampler import identity_batches, num_identity_steps, require_identities
from rlq_ray.data.loader import CPU, WHOLE_SET, BatchLoader, groups_in_window
from rlq_ray.data.partition import Rows, rank_share
from rlq_ray.data.reader import DataSet
from rlq_ray.data.window import IdentityWindow
from rlq_ray.types import ClassSpace


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
        prefix: str = "",
        device: torch.device = CPU,
    ) -> None:
        """Plan over `rows`, labelled by `classes`, where names begin with `prefix`; a CUDA `device` may decode.

        Raises:
            DataError: fewer identities than a batch has.
            UsageError: identities that the workers cannot share evenly, or a window too small for a batch.
        """
        labels = Labels.of_classes(dataset, classes, prefix=prefix)
        self._rows, self._identity, self._clothes = rows, labels.identity[rows], labels.clothes[rows]
        self._batch, self._seed = batch, seed
        self._share = rank_share(batch.identities, rank, world_size)
        steps = steps_per_epoch or num_identity_steps(len(rows), batch.identities, batch.images_per_identity)
        require_identities(len(np.unique(self._identity)), batch.identities)
        sampler, self._window = WHOLE_SET, None
        window_groups = groups_in_window(dataset, rows, data)
        if window_groups is not None:
            self._window = IdentityWindow(
                rows,
                dataset.index.group[rows],
                self._identity,
                self._clothes,
                num_identities=batch.identities,
                images_per_identity=batch.images_per_identity,
                window_groups=window_groups,
                seed=seed,
            )
            sampler = f"a window of {window_groups} row groups in {self._window.num_lanes} lanes"
        super().__init__(
            dataset,
            rows,
            labels,
            data=data,
            sampler=sampler,
            steps_per_epoch=steps,
            with_masks=with_masks,
            device=device,
        )

    def rows_of_epoch(self, epoch: int) -> Rows:
        """List this rank's rows of every batch of an epoch, `(steps, B)`, an identity's images side by side."""
        if self._window is not None:
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
