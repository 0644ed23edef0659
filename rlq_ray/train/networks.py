"""The networks of a training and their optimisers, on the worker's device."""

from __future__ import annotations

import torch
from torch import nn

from rlq_ray.config.schema import ExperimentConfig, OptimizerConfig
from rlq_ray.errors import CheckpointError
from rlq_ray.models import ReIDNetwork, load_layers
from rlq_ray.storage import locate
from rlq_ray.train.checkpoint import read_network, read_state
from rlq_ray.types import ClassSpace


def build_student(config: ExperimentConfig, classes: ClassSpace, device: torch.device) -> ReIDNetwork:
    """Make the network that is trained, the same one on every worker.

    Raises:
        CheckpointError: `start_from` names no checkpoint, or one of another model.
    """
    network = ReIDNetwork(config.model, classes)
    if config.initial_checkpoint:
        load_layers(network, read_state(locate(config.initial_checkpoint))["network"])
    return _place(network, config, device)


def read_teacher(config: ExperimentConfig, device: torch.device) -> ReIDNetwork:
    """Read the network that the student is pulled towards.

    Raises:
        CheckpointError: there is none.
    """
    assert config.teacher is not None
    teacher, _ = read_network(locate(config.teacher))
    return _place(teacher, config, device)


def require_feature_size(config: ExperimentConfig, teacher_size: int, student: ReIDNetwork) -> None:
    """Refuse a teacher that the student's features cannot be compared with.

    Raises:
        CheckpointError: its features are of another size.
    """
    if teacher_size != student.feature_size:
        raise CheckpointError(
            f"the teacher {config.teacher} has features of size {teacher_size}, the student of "
            f"{student.feature_size}: train the teacher with the student's model.backbone and model.narrow_width"
        )


def build_optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Make the optimiser of a module's parameters; a fused one, which can leave an update out on the device."""
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.kind]
    return kind(module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def _place(network: ReIDNetwork, config: ExperimentConfig, device: torch.device) -> ReIDNetwork:
    if config.train.precision == "bf16":
        network.compute_dtype = torch.bfloat16
    if config.train.channels_last:
        network = network.to(memory_format=torch.channels_last)
    return network.to(device)
