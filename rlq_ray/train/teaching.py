"""A teacher's features of the external set, computed once for all trainings that show it the same pixels.

Where they lie says what they depend on: the teacher, the images, and the settings between an image and the network.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from rlq_ray.augment import Augmenter, draw_for_rows
from rlq_ray.config.load import fingerprint
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.data import DataSet, TeacherFeatures, iterate_rows, write_draw
from rlq_ray.data.partition import Rows
from rlq_ray.models import FrozenTeacher, ReIDNetwork
from rlq_ray.storage import Location, locate
from rlq_ray.train.checkpoint import state_hash
from rlq_ray.train.networks import require_feature_size


@dataclass(frozen=True)
class TaughtSet:
    """The features of one teacher for the trainings that agree with a configuration.

    Attributes:
        config: has a teacher, and `teacher_draws`.
        images: content hash of the external set.
        store: keeps the features.
    """

    config: ExperimentConfig
    images: str
    store: Location

    @property
    def about(self) -> dict[str, str]:
        """All that the features of a draw depend on."""
        assert self.config.teacher is not None
        settings = json.dumps(self.config.shown_to_teacher, sort_keys=True)
        return {"teacher": state_hash(locate(self.config.teacher)), "images": self.images, "settings": settings}

    @property
    def folder(self) -> Location:
        """Where they lie."""
        return self.store / f"teacher-features/{fingerprint(self.about)[:12]}"

    def write(self, number: int, row_N: Rows, feat_2ND: NDArray[np.float16]) -> None:
        """Keep the features of a draw."""
        write_draw(self.folder, number, row_N, feat_2ND, self.about)

    def open(self, student: ReIDNetwork) -> TeacherFeatures:
        """Open them for a training.

        Raises:
            DataError: they are missing or damaged.
            CheckpointError: they are of another size than the student's.
        """
        features = TeacherFeatures(self.folder, self.config.teacher_draws)
        require_feature_size(self.config, features.feature_size, student)
        return features


@torch.no_grad()
def teach_rows(
    teacher: ReIDNetwork, dataset: DataSet, row_N: Rows, number: int, config: ExperimentConfig, device: torch.device
) -> NDArray[np.float16]:
    """Show a teacher the clean views that TAD steps with draw `number` show the student: features `(2, N, D)`.

    They are of unit length, as only their direction counts.
    """
    frozen = FrozenTeacher(teacher)
    augmenter = Augmenter(config.augment, config.model.input_height, config.model.input_width)
    parts = []
    for batch in iterate_rows(
        dataset, row_N, batch_images=config.evaluate.batch_images, data=config.data, device=device
    ):
        drawn = draw_for_rows(batch.row_B, config.augment, number)
        clean_BCHW = augmenter.train(batch.image_BCHW.to(device, non_blocking=True), drawn)
        parts.append(torch.stack([F.normalize(feat_BD.float(), dim=1) for feat_BD in frozen(clean_BCHW)]).half().cpu())
    return np.asarray(torch.cat(parts, dim=1).numpy(), dtype=np.float16)
