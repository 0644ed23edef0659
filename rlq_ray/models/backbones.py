"""Backbones in four parts, so that branches can fork between them, and the weights they begin with.

Knows nothing about branches, heads and labels.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from rlq_ray.config.model import PATCH_PX
from rlq_ray.config.schema import ModelConfig
from rlq_ray.errors import CheckpointError, UsageError
from rlq_ray.models.narrow import narrow_parts

# The published method began with the first release of the ImageNet weights.
_RESNETS = {
    "resnet18": (torchvision.models.resnet18, torchvision.models.ResNet18_Weights.IMAGENET1K_V1, 512),
    "resnet50": (torchvision.models.resnet50, torchvision.models.ResNet50_Weights.IMAGENET1K_V1, 2048),
}


class BackboneParts(NamedTuple):
    """Modules to be called in order, and the channels of the last one's feature map."""

    stem_to_layer1: nn.Module
    layer2: nn.Module
    layer3: nn.Module
    layer4: nn.Module
    channels: int


def build_backbone(config: ModelConfig, pretrained: Mapping[str, Tensor] | None) -> BackboneParts:
    """Make a new copy of all four parts, with the weights of `read_pretrained` or, for None, drawn at random.

    Layer4 of the ResNets has stride 1 here, so the last map is 1/16 of the image's size. A vision transformer's parts
    hand on tokens instead of maps, and only the last one gives a map, with a place for each patch.

    Raises:
        CheckpointError: `pretrained` lacks or exceeds this backbone's tensors.
    """
    if config.backbone == "narrow":
        return BackboneParts(*narrow_parts(config.narrow_width), channels=8 * config.narrow_width)
    if config.backbone in PATCH_PX:
        return _transformer_parts(config, pretrained)
    make_resnet, _, channels = _RESNETS[config.backbone]
    resnet = make_resnet()
    resnet.fc = nn.Identity()
    if pretrained is not None:
        _load_every_tensor(resnet, pretrained, config, f"torchvision's {config.backbone}")
    for module in resnet.layer4.modules():
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
    stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool, resnet.layer1)
    return BackboneParts(stem, resnet.layer2, resnet.layer3, resnet.layer4, channels)


def _transformer_parts(config: ModelConfig, pretrained: Mapping[str, Tensor] | None) -> BackboneParts:
    from rlq_ray.models import vision_transformer  # here, because timm takes a second and few networks need it

    transformer = vision_transformer.build_transformer(config.backbone, config.input_height, config.input_width)
    if pretrained is not None:
        state = vision_transformer.fit_to_input(pretrained, transformer)
        _load_every_tensor(transformer, state, config, f"timm's {vision_transformer.ARCHITECTURES[config.backbone]}")
    return BackboneParts(*vision_transformer.part_transformer(transformer), channels=transformer.embed_dim)


def read_pretrained(config: ModelConfig) -> dict[str, Tensor] | None:
    """Read the state dict that `weights` names, without its classifier; None for `random`.

    `imagenet` is looked for in torch's cache and else downloaded into it.

    Raises:
        UsageError: the backbone has no such weights, or they can neither be found nor downloaded.
        CheckpointError: the file is no state dict.
    """
    if config.weights == "random":
        return None
    if config.backbone == "narrow":
        raise UsageError(
            f"model.weights is '{config.weights}', but the narrow backbone only starts at random: "
            "set model.weights=random"
        )
    library, classifier = ("timm", "head.") if config.backbone in PATCH_PX else ("torchvision", "fc.")
    path = _cached_imagenet(config.backbone) if config.weights == "imagenet" else Path(config.weights).expanduser()
    if not path.is_file():
        raise UsageError(
            f"model.weights names the file '{path}', which is not there: "
            f"give the path of a {library} state dict, or set model.weights=random"
        )
    state = _read_state_dict(path)
    return {name: tensor for name, tensor in state.items() if not name.startswith(classifier)}


def _cached_imagenet(backbone: str) -> Path:
    """Return the file of torchvision's weights in torch's cache, downloading it if it is not there yet."""
    url = _RESNETS[backbone][1].url
    name = url.rpartition("/")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    hash_prefix = Path(name).stem.rpartition("-")[2]
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix, progress=False)
    except (OSError, RuntimeError) as error:
        raise UsageError(
            f"model.weights is 'imagenet', but {name} cannot be downloaded ({error}): put that file into "
            f"'{path.parent}', or give its path as model.weights, or set model.weights=random"
        ) from error
    return path


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    try:
        is_pickle = path.suffix != ".safetensors"
        state = torch.load(path, map_location="cpu", weights_only=True) if is_pickle else load_file(path)
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(
            f"'{path}' cannot be read as a state dict ({reason}): save one with torch.save(model.state_dict())"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(
            f"'{path}' holds a {type(state).__name__} that is no state dict: "
            "save one with torch.save(model.state_dict())"
        )
    return dict(state)


def _load_every_tensor(
    network: nn.Module, pretrained: Mapping[str, Tensor], config: ModelConfig, architecture: str
) -> None:
    expected = network.state_dict()
    # Files from before torch 0.4.1 count no batches; BatchNorm with a momentum does not use the count.
    given = {name: tensor for name, tensor in expected.items() if name.endswith("num_batches_tracked")} | dict(
        pretrained
    )
    mismatch = describe_mismatch(expected, given)
    if mismatch:
        raise CheckpointError(
            f"model.weights '{config.weights}' does not fit {config.backbone}: {mismatch}: "
            f"give the state dict of {architecture}, or change model.backbone"
        )
    network.load_state_dict(given)


def describe_mismatch(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """Name the first tensors that are missing, unexpected or of another shape; empty if everything fits."""
    missing = [name for name in expected if name not in given]
    unexpected = [name for name in given if name not in expected]
    reshaped = [
        f"{name} {tuple(given[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in given and given[name].shape != tensor.shape
    ]
    groups = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    return "; ".join(f"{kind}: {_first(names)}" for kind, names in groups.items() if names)


def _first(names: list[str], shown: int = 3) -> str:
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + rest
