"""The authors' released weights as our network: names translated, every tensor accounted for. Knows no files on disk.

Pathak & Rawat, "Coarse Attribute Prediction with Task Agnostic Distillation for Real World Clothes Changing ReID",
BMVC 2025, arXiv:2505.12580. Known from reading their public code (GitHub, ppriyank/RLQ-CGAL-UBD):

- `classifier`, which lies beside the model, is applied to the first branch's feature, the one that the clothes
  classifier sees; `identity_classifier`, inside the model, to the second branch's. The model's forward pass, its
  training steps and its teacher agree on that.
- The pose branch forks after layer1 and ends in `identity_classifier2`. A gender head is trained but never saved.
- `rank1` is a number of NumPy, and `epoch` counts from 0.

Inferred, since no released file was at hand: that the published code is the one which wrote the files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real

import torch
from torch import Tensor

from rlq_ray.config.schema import ModelConfig
from rlq_ray.errors import CheckpointError
from rlq_ray.models.backbones import describe_mismatch
from rlq_ray.models.networks import ReIDNetwork
from rlq_ray.types import ClassSpace

PARTS = ("model_state_dict", "classifier_state_dict", "clothes_classifier_state_dict")
"""Entries of the file that hold tensors; all others are numbers."""

_THEIR_PREFIX = {
    "stem_to_layer1.": "model_state_dict/common.",
    "layer2.": "model_state_dict/common.5.",
    "clothes_branch.2.norm.": "model_state_dict/bn1.",
    "clothes_branch.": "model_state_dict/branch1.",
    "identity_branch.2.norm.": "model_state_dict/bn2.",
    "identity_branch.": "model_state_dict/branch2.",
    "pose_branch.3.norm.": "model_state_dict/bn3.",
    "pose_branch.": "model_state_dict/branch3.",
    "identity_clothes_head.": "classifier_state_dict/classifier.",
    "identity_head.": "model_state_dict/identity_classifier.classifier.",
    "pose_head.": "model_state_dict/identity_classifier2.classifier.",
}
"""Beginnings of our names and theirs; the first that fits counts, and what follows it is the same."""
_CLOTHES = "clothes_classifier_state_dict/weight"
_IDENTITY_HEADS = ("model_state_dict/identity_classifier.classifier.weight", "classifier_state_dict/classifier.weight")
_POSE_HEAD = "model_state_dict/identity_classifier2.classifier.weight"
_POSE_PARTS = tuple(f"model_state_dict/{part}." for part in ("branch3", "bn3", "identity_classifier2"))
_UNUSED = "num_batches_tracked"
"""BatchNorm's count of batches: files from before torch 0.4.1 lack it, and BatchNorm with a momentum ignores it."""

MEND = "give a .pth.tar of the authors' three-branch model or of their base model, or download it again"


@dataclass(frozen=True)
class ReleasedModel:
    """A released file in our terms, all weights fp32.

    `network` is the state dict of a `ReIDNetwork` of this `config`; its heads know `num_identities` and, with a pose
    branch, `pose_clusters` (else 0). `clothes_weight_CD` are the rows of the clothes classifier, which is no part of
    the network. `numbers` are the file's other entries.
    """

    config: ModelConfig
    num_identities: int
    pose_clusters: int
    network: Mapping[str, Tensor] = field(repr=False)
    clothes_weight_CD: Tensor = field(repr=False)
    numbers: Mapping[str, float]


def convert_released(content: object) -> ReleasedModel:
    """Translate what a released file holds; `module.`, which data-parallel wrappers put in front, is taken off.

    Raises:
        CheckpointError: it is no such file; names the first tensors that are missing, unexpected or do not fit.
    """
    given, numbers = _sort_out(content)
    config = ModelConfig(
        backbone="resnet50",
        input_height=384,
        input_width=192,
        pose_branch=any(name.startswith(_POSE_PARTS) for name in given),
        gender_head=False,
    )
    num_identities = max(_rows(given, name) for name in _IDENTITY_HEADS)
    pose_clusters = max(1, _rows(given, _POSE_HEAD) - 1) if config.pose_branch else 0
    expected = _expected(config, max(1, num_identities), pose_clusters)
    theirs = {name: _their_name(name) for name in expected}
    clothes = {_CLOTHES: torch.empty(_rows(given, _CLOTHES), expected["identity_head.weight"].shape[1], device="meta")}
    wanted = {theirs[name]: tensor for name, tensor in expected.items()} | clothes
    given = {name: torch.zeros((), dtype=torch.int64) for name in wanted if name.endswith(_UNUSED)} | given
    mismatch = describe_mismatch(wanted, given) or _describe_types(wanted, given)
    if mismatch:
        raise CheckpointError(f"these are not the released weights: {mismatch}: {MEND}")
    return ReleasedModel(
        config=config,
        num_identities=num_identities,
        pose_clusters=pose_clusters,
        network={name: given[theirs[name]].detach().to(tensor.dtype) for name, tensor in expected.items()},
        clothes_weight_CD=given[_CLOTHES].detach().to(torch.float32),
        numbers=numbers,
    )


def _sort_out(content: object) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Part the file into tensors, named `ENTRY/NAME`, and numbers."""
    if not isinstance(content, Mapping):
        raise CheckpointError(f"the file holds a {type(content).__name__} instead of a dict with {PARTS[0]}: {MEND}")
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, float] = {}
    for part in PARTS:
        if not isinstance(content.get(part), Mapping):
            raise CheckpointError(f"the file has no dict '{part}': {MEND}")
        tensors |= {f"{part}/{name}": value for name, value in _unwrapped(content[part]).items()}
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"'{name}' is a {type(value).__name__} instead of a tensor: {MEND}")
    for name, value in content.items():
        if name in PARTS:
            continue
        number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
        if not isinstance(number, Real) or not math.isfinite(number):
            raise CheckpointError(f"the entry '{name}' is no number but {value!r:.40}: {MEND}")
        numbers[str(name)] = float(number)
    return tensors, numbers


def _unwrapped(state: Mapping[object, Tensor]) -> dict[str, Tensor]:
    named = {str(name): value for name, value in state.items()}
    if all(name.startswith("module.") for name in named):
        return {name.removeprefix("module."): value for name, value in named.items()}
    return named


def _expected(config: ModelConfig, num_identities: int, pose_clusters: int) -> dict[str, Tensor]:
    """List our network's tensors without their values, which would take a second and hundreds of MiB to draw."""
    names = tuple(map(str, range(num_identities)))
    with torch.device("meta"):
        network = ReIDNetwork(
            config.model_copy(update={"weights": "random"}), ClassSpace(names, (), (), pose_clusters=pose_clusters)
        )
    return dict(network.state_dict())


def _their_name(name: str) -> str:
    ours, theirs = next((ours, theirs) for ours, theirs in _THEIR_PREFIX.items() if name.startswith(ours))
    return theirs + name.removeprefix(ours)


def _rows(tensors: Mapping[str, Tensor], name: str) -> int:
    """Count the rows of a weight, 0 if it is missing."""
    return tensors[name].shape[0] if name in tensors and tensors[name].dim() else 0


def _describe_types(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """Name the first weight that is no floating-point number; empty if all are, of whatever precision."""
    odd = [name for name in expected if not name.endswith(_UNUSED) and not given[name].is_floating_point()]
    return f"of another type: {odd[0]} {given[odd[0]].dtype}" if odd else ""
