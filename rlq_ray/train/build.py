"""From a configuration to the parts of a training on one worker."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from rlq_ray.augment import Augmenter
from rlq_ray.collectives import World
from rlq_ray.config.schema import DataConfig, ExperimentConfig
from rlq_ray.data import DataSet, TrainingSplit, class_space, joined_classes, split_training
from rlq_ray.degrade import Degrader
from rlq_ray.phases import Views
from rlq_ray.storage import Location
from rlq_ray.train.gradients import GradientComparison
from rlq_ray.train.networks import build_optimizer, build_student
from rlq_ray.train.objectives import Objectives
from rlq_ray.train.schedule import Timeline
from rlq_ray.train.state import TrainState


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


def build(config: ExperimentConfig, *, world: World, device: torch.device, store: Location | None = None) -> Parts:
    """Open the data and make networks, optimisers and phases; the same weights on every worker.

    `store` keeps the teacher's features; only `teacher_draws` needs it.

    Raises:
        DataError: a data set, or features, that are missing or damaged, or too few images for the batches.
        CheckpointError: a teacher that is missing or does not fit the student.
    """
    target = open_data(config.data.target, config.data)
    external = _open_external(config)
    split = split_target(target, config.data)
    if external is not None and config.schedule.external == "joint":
        rows = external.index.rows_of_split("train")
        classes = joined_classes(split.classes, class_space(external.index, rows, pose_clusters=0))
        split = replace(split, classes=classes)
    torch.manual_seed(config.seed)
    network = build_student(config, split.classes, device)
    augmenter = build_augmenter(config)
    views = Views(augmenter, config.augment, Degrader(config.degrade), config.degrade, world, config.seed)
    phases, clothes = Objectives(config, target, external, split, network, views, device, store).phases()
    other = phases.get(config.schedule.external)
    timeline = Timeline.plan(
        config.staged_schedule,
        epochs=config.train.epochs,
        cap_steps_per_epoch=phases["cap"].loader.steps_per_epoch,
        tad_steps_per_epoch=other.loader.steps_per_epoch if other else 0,
    )
    comparison = GradientComparison(timeline, config.train.evaluate_every_epochs)
    state = TrainState(network, build_optimizer(network, config.optimizer), clothes, phases, comparison)
    return Parts(state, timeline, target, split, augmenter)


def _open_external(config: ExperimentConfig) -> DataSet | None:
    if not config.schedule.tad_steps:
        return None
    assert config.data.external is not None
    return open_data(config.data.external, config.data)


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
