"""Features of many images, clean or degraded, as a model sees them at inference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from rlq_ray.augment import Augmenter
from rlq_ray.config.schema import DataConfig, DegradeConfig, EvaluateConfig, ExperimentConfig, Quality
from rlq_ray.data import DataSet, Index, iterate_rows
from rlq_ray.degrade import degrade_to
from rlq_ray.evaluate import Labels, shared_labels
from rlq_ray.models import ReIDNetwork


@dataclass(frozen=True)
class Embedding:
    """How rows of a data set become features; the same for validation, evaluation and inference."""

    augmenter: Augmenter
    degrade: DegradeConfig
    evaluate: EvaluateConfig
    data: DataConfig
    device: torch.device

    @classmethod
    def of(cls, config: ExperimentConfig, augmenter: Augmenter, device: torch.device) -> Self:
        """Take what is needed from an experiment."""
        return cls(augmenter, config.degrade, config.evaluate, config.data, device)

    @torch.inference_mode()
    def rows(self, network: ReIDNetwork, dataset: DataSet, row_N: np.ndarray, quality: Quality) -> Tensor:
        """Embed rows of a data set in their order, `(N, D)` float32 on the CPU, each of unit length.

        With any quality but `hq` every image is degraded by a draw that depends on `evaluate.degrade_seed` and its row
        alone.
        """
        network.eval()
        parts = [torch.empty(0, network.embedding_size)]  # a worker's share of few rows may be none
        for batch in iterate_rows(
            dataset, row_N, batch_images=self.evaluate.batch_images, data=self.data, device=self.device
        ):
            image_BCHW = batch.image_BCHW.to(self.device, non_blocking=True)
            image_BCHW = degrade_to(
                quality,
                image_BCHW,
                self.degrade,
                row_B=batch.row_B,
                original_size_B2=batch.original_size_B2,
                seed=self.evaluate.degrade_seed,
            )
            parts.append(network.embed(self.augmenter.test(image_BCHW)).float().cpu())
        return torch.cat(parts)


def labels_of(index: Index, query_rows: np.ndarray, gallery_rows: np.ndarray) -> tuple[Labels, Labels]:
    """Look up identity, camera and clothes of query and gallery rows, in codes that compare."""
    query, gallery = (
        (index.identity[rows], index.camera[rows], index.clothes[rows]) for rows in (query_rows, gallery_rows)
    )
    return shared_labels(query, gallery)
