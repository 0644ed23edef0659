"""From a configuration to the parts of a training on one worker."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from rlq_ray.augment import NUM_PAIRS, Augmenter
from rlq_ray.collectives import World
from rlq_ray.config.schema import DataConfig, ExperimentConfig, OptimizerConfig
from rlq_ray.data import DataSet, ExternalLoader, TargetLoader, TrainingSplit, split_training
from rlq_ray.degrade import Degrader
from rlq_ray.errors import CheckpointError
from rlq_ray.losses import identity_of_clothes_classes
from rlq_ray.models import FrozenTeacher, ReIDNetwork, build_clothes_classifier
from rlq_ray.phases import ClothesClassifierTraining, CoarseAttributePhase, DistillationPhase, Phase, Views
from rlq_ray.storage import locate
from rlq_ray.train.checkpoint import read_network
from rlq_ray.train.schedule import Timeline
from rlq_ray.train.state import TrainState
from rlq_ray.types import ClassSpace


@dataclass(frozen=True)
class Parts:
    """What one worker trains with."""

    state: TrainState
    timeline: Timeline
    target: DataSet
    split: TrainingSplit
    augmenter: Augmenter

    def close(self) -> None:
        """End the threads that read ahead."""
        for phase in self.state.phases.values():
            phase.loader.close()


def build(config: ExperimentConfig, *, world: World, device: torch.device) -> Parts:
    """Open the data and make networks, optimisers and phases; the same weights on every worker.

    Raises:
        DataError: a data set that is missing, damaged or too small for its batches.
        CheckpointError: a teacher that is missing or does not fit the student.
    """
    target = open_data(config.data.target, config.data)
    split = split_target(target, config.data)
    with_masks = config.augment.recolour and target.manifest.has_masks
    torch.manual_seed(config.seed)
    network = _place(ReIDNetwork(config.model, split.classes), config, device)
    augmenter = build_augmenter(config)
    views = Views(augmenter, config.augment, Degrader(config.degrade), config.degrade, world, config.seed)
    target_loader = TargetLoader(
        target,
        split.train_rows,
        split.classes,
        batch=config.batch,
        data=config.data,
        seed=config.seed,
        rank=world.rank,
        world_size=world.size,
        steps_per_epoch=config.train.steps_per_epoch,
        with_masks=with_masks,
        device=device,
    )
    clothes = _clothes_training(config, network, split.classes, NUM_PAIRS if with_masks else 0, device)
    phases: dict[str, Phase] = {
        "cap": CoarseAttributePhase(
            network,
            clothes,
            target_loader,
            num_clothes=len(split.classes.clothes),
            views=views,
            loss=config.loss,
        )
    }
    if config.schedule.tad_steps:
        phases["tad"] = _distillation(config, network, clothes, views, device)
    timeline = Timeline.plan(
        config.schedule,
        epochs=config.train.epochs,
        cap_steps_per_epoch=target_loader.steps_per_epoch,
        tad_steps_per_epoch=phases["tad"].loader.steps_per_epoch if "tad" in phases else 0,
    )
    state = TrainState(network, _optimizer(network, config.optimizer), clothes, phases)
    return Parts(state, timeline, target, split, augmenter)


def split_target(target: DataSet, config: DataConfig) -> TrainingSplit:
    """Set the validation identities aside, the same ones for every training on this data set."""
    pose = target.manifest.pose
    return split_training(
        target.index,
        pose_clusters=pose.k if pose else 0,
        validation_fraction=config.validation_fraction,
        seed=config.validation_seed,
    )


def open_data(uri: str, data: DataConfig) -> DataSet:
    """Open a data set with the bounds on memory and disk that a configuration sets.

    Raises:
        DataError: there is no data set, or its index is damaged.
        StorageError: the place cannot be reached.
    """
    return DataSet.open(uri, cache_mb=data.cache_mb, disk_cache_mb=data.disk_cache_mb)


def build_augmenter(config: ExperimentConfig) -> Augmenter:
    """Make what turns images into the network's input."""
    return Augmenter(config.augment, config.model.input_height, config.model.input_width)


def _distillation(
    config: ExperimentConfig,
    network: ReIDNetwork,
    clothes: ClothesClassifierTraining | None,
    views: Views,
    device: torch.device,
) -> DistillationPhase:
    assert config.data.external is not None
    assert config.teacher is not None
    teacher, _ = read_network(locate(config.teacher))
    if teacher.feature_size != network.feature_size:
        raise CheckpointError(
            f"the teacher {config.teacher} has features of size {teacher.feature_size}, the student of "
            f"{network.feature_size}: train the teacher with the student's model.backbone and model.narrow_width"
        )
    external = open_data(config.data.external, config.data)
    loader = ExternalLoader(
        external,
        external.index.rows_of_split("train"),
        batch=config.batch,
        data=config.data,
        seed=config.seed,
        rank=views.world.rank,
        world_size=views.world.size,
        device=device,
    )
    return DistillationPhase(
        network, FrozenTeacher(_place(teacher, config, device)), clothes, loader, views=views, loss=config.loss
    )


def _clothes_training(
    config: ExperimentConfig, network: ReIDNetwork, classes: ClassSpace, recolourings: int, device: torch.device
) -> ClothesClassifierTraining | None:
    weights = config.loss.weights
    if not weights.clothes_adversarial and not weights.agreement_clothes:
        return None
    identity_of_clothes_C = identity_of_clothes_classes(
        classes.identity_of_clothes, len(classes.identities), recolourings
    )
    classifier = build_clothes_classifier(network.feature_size, len(identity_of_clothes_C)).to(device)
    optimizer = _optimizer(classifier, config.optimizer)
    return ClothesClassifierTraining(classifier, optimizer, identity_of_clothes_C.to(device), config.loss)


def _optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.kind]
    return kind(module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def _place(network: ReIDNetwork, config: ExperimentConfig, device: torch.device) -> ReIDNetwork:
    if config.train.precision == "bf16":
        network.compute_dtype = torch.bfloat16
    if config.train.channels_last:
        network = network.to(memory_format=torch.channels_last)
    return network.to(device)
