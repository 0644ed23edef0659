"""The phases of a training on one worker, with their loaders: CAP, and what the schedule alternates it with."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlq_ray.augment import NUM_PAIRS
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.data import EXTERNAL_PREFIX, DataSet, ExternalLoader, TargetLoader, TrainingSplit
from rlq_ray.data.partition import Rows
from rlq_ray.losses import identity_of_clothes_classes
from rlq_ray.models import FrozenTeacher, ReIDNetwork, build_clothes_classifier
from rlq_ray.phases import ClothesClassifierTraining, CoarseAttributePhase, DistillationPhase, Phase, Views
from rlq_ray.storage import Location
from rlq_ray.train.networks import build_optimizer, read_teacher, require_feature_size
from rlq_ray.train.teaching import TaughtSet


@dataclass(frozen=True)
class Objectives:
    """Makes the phases of one training.

    Attributes:
        config: of the training.
        target: the labelled data set.
        external: the other one, if the schedule has steps on it.
        split: rows to train on, and all classes that the network tells apart.
        network: what is trained.
        views: what it is shown.
        device: this worker's.
        store: keeps the teacher's features, where the configuration asks for some.
    """

    config: ExperimentConfig
    target: DataSet
    external: DataSet | None
    split: TrainingSplit
    network: ReIDNetwork
    views: Views
    device: torch.device
    store: Location | None = None

    def phases(self) -> tuple[dict[str, Phase], ClothesClassifierTraining | None]:
        """Make the phases by name, and the clothes classifier that they share."""
        clothes = self._clothes()
        phases: dict[str, Phase] = {"cap": self._labelled("cap", self.target, self.split.train_rows, clothes)}
        if self.external is not None:
            rows = self.external.index.rows_of_split("train")
            if self.config.schedule.external == "joint":
                phases["joint"] = self._labelled("joint", self.external, rows, clothes, prefix=EXTERNAL_PREFIX)
            else:
                phases["tad"] = self._distillation(self.external, rows, clothes)
        return phases, clothes

    def _labelled(
        self, name: str, dataset: DataSet, rows: Rows, clothes: ClothesClassifierTraining | None, prefix: str = ""
    ) -> CoarseAttributePhase:
        config, world = self.config, self.views.world
        loader = TargetLoader(
            dataset,
            rows,
            self.split.classes,
            batch=config.batch,
            data=config.data,
            seed=config.seed,
            rank=world.rank,
            world_size=world.size,
            steps_per_epoch=None if prefix else config.train.steps_per_epoch,
            with_masks=self._has_copies(dataset),
            prefix=prefix,
            device=self.device,
        )
        return CoarseAttributePhase(
            self.network,
            clothes,
            loader,
            num_clothes=len(self.split.classes.clothes),
            views=self.views,
            loss=config.staged_loss,
            name=name,
        )

    def _distillation(
        self, external: DataSet, rows: Rows, clothes: ClothesClassifierTraining | None
    ) -> DistillationPhase:
        config, world = self.config, self.views.world
        teacher, features = None, None
        if config.caches_teacher:
            assert self.store is not None
            features = TaughtSet(config, external.manifest.content_hash, self.store).open(self.network)
        elif config.needs_teacher:
            teacher = FrozenTeacher(read_teacher(config, self.device))
            require_feature_size(config, teacher.network.feature_size, self.network)
        loader = ExternalLoader(
            external,
            rows,
            batch=config.batch,
            data=config.data,
            seed=config.seed,
            rank=world.rank,
            world_size=world.size,
            device=self.device,
            features=features,
        )
        return DistillationPhase(self.network, teacher, clothes, loader, views=self.views, loss=config.staged_loss)

    def _clothes(self) -> ClothesClassifierTraining | None:
        if not any(loss.weights.look_at_clothes for loss in self.config.staged_loss.values):
            return None
        classes = self.split.classes
        identity_of_clothes_C = identity_of_clothes_classes(
            classes.identity_of_clothes, len(classes.identities), NUM_PAIRS if self._has_copies(self.target) else 0
        )
        classifier = build_clothes_classifier(self.network.feature_size, len(identity_of_clothes_C)).to(self.device)
        optimizer = build_optimizer(classifier, self.config.optimizer)
        return ClothesClassifierTraining(classifier, optimizer, identity_of_clothes_C.to(self.device), self.config.loss)

    def _has_copies(self, dataset: DataSet) -> bool:
        return self.config.augment.recolour and self.target.manifest.has_masks and dataset.manifest.has_masks
