"""A network from a dict of tensors, whole or in part; the dict's place on disk is not known here."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rlq_ray.config.schema import ModelConfig
from rlq_ray.errors import CheckpointError
from rlq_ray.models.backbones import describe_mismatch
from rlq_ray.models.networks import ReIDNetwork
from rlq_ray.types import ClassSpace


def load_network(config: ModelConfig, classes: ClassSpace, state: Mapping[str, Tensor]) -> ReIDNetwork:
    """Rebuild a network from its `state_dict`, for inference or as a teacher.

    `weights` is not read, and BatchNorm is not synchronised, since both serve only training.

    Raises:
        CheckpointError: the state is that of another model; names the first tensors that do not fit.
    """
    network = ReIDNetwork(config.model_copy(update={"weights": "random", "synchronised_batchnorm": False}), classes)
    mismatch = describe_mismatch(network.state_dict(), state)
    if mismatch:
        raise CheckpointError(
            f"checkpoint of another model: {mismatch}: use the model settings and the data set it was trained with"
        )
    network.load_state_dict(dict(state))
    return network


def load_layers(network: ReIDNetwork, state: Mapping[str, Tensor]) -> None:
    """Let a network begin with the layers of another, heads excepted, since their classes are others.

    Layers that the other lacks, such as a pose branch, stay as they are.

    Raises:
        CheckpointError: a layer of the other has no place here, or another shape.
    """
    own = network.state_dict()
    layers = {name: tensor for name, tensor in state.items() if "_head." not in name}
    mismatch = describe_mismatch({name: own[name] for name in layers if name in own}, layers)
    if mismatch:
        raise CheckpointError(f"start_from is a checkpoint of another model: {mismatch}: take the same model settings")
    network.load_state_dict(own | layers)
