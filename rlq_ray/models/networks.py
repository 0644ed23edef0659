"""The network of up to three branches over one backbone. Knows no losses, no optimisers and no files.

Pathak & Rawat, "Coarse Attribute Prediction with Task Agnostic Distillation for Real World Clothes Changing ReID",
BMVC 2025, arXiv:2505.12580.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rlq_ray.config.schema import ModelConfig
from rlq_ray.errors import UsageError
from rlq_ray.models.backbones import build_backbone, read_pretrained
from rlq_ray.models.heads import LinearHead, PooledFeature
from rlq_ray.models.synchronised import synchronise_batchnorm
from rlq_ray.types import ClassSpace


class Outputs(NamedTuple):
    """Features and logits of a batch; None for what the network lacks or was not asked for.

    Features are `(B, D)` after BatchNorm and not of unit length; all is fp32, whatever the layers computed in.
    """

    clothes_BD: Tensor
    """The same tensor as `identity_BD` where one branch serves both."""
    identity_BD: Tensor
    identity_clothes_BP: Tensor | None
    """Identity logits of the clothes branch."""
    identity_BP: Tensor
    """Identity logits of the identity branch."""
    pose_BD: Tensor | None = None
    pose_BK: Tensor | None = None
    """Logits of no pose, then of each pose cluster."""
    gender_B2: Tensor | None = None


class ReIDNetwork(nn.Module):
    """Image to features and logits.

    | branch | layers of its own | starts from | head |
    |---|---|---|---|
    | clothes | layer3, layer4 | after layer2 | identity |
    | identity | layer3, layer4 | after layer2 | identity, gender |
    | pose | layer2, layer3, layer4 | after layer1 | pose cluster |

    A layer of a vision transformer is a quarter of its blocks. Without pose branch and gender head this is the base
    model: the baseline, and the teacher. With `single_branch` the clothes branch is left out too, and the identity
    feature stands for both: CAL (Gu et al., CVPR 2022).
    `feature_size` is D, the length of one branch's feature. With `compute_dtype` the convolutions run under autocast
    in that type.

    Raises:
        UsageError: weights that cannot be found, or a pose branch without pose clusters.
        CheckpointError: weights of another network.
    """

    def __init__(self, config: ModelConfig, classes: ClassSpace) -> None:
        super().__init__()
        self.compute_dtype: torch.dtype | None = None
        _refuse_contradictions(config, classes)
        pretrained = read_pretrained(config)
        trunk = build_backbone(config, pretrained)
        other = trunk if config.single_branch else build_backbone(config, pretrained)
        self.feature_size = 2 * trunk.channels
        num_identities = len(classes.identities)

        self.stem_to_layer1 = trunk.stem_to_layer1
        self.layer2 = trunk.layer2
        self.clothes_branch = (
            None if config.single_branch else nn.Sequential(trunk.layer3, trunk.layer4, PooledFeature(trunk.channels))
        )
        self.identity_branch = nn.Sequential(other.layer3, other.layer4, PooledFeature(trunk.channels))
        self.identity_clothes_head = None if config.single_branch else LinearHead(self.feature_size, num_identities)
        self.identity_head = LinearHead(self.feature_size, num_identities)
        self.gender_head = LinearHead(self.feature_size, 2) if config.gender_head else None
        self.pose_branch = self.pose_head = None
        if config.pose_branch:
            pose = build_backbone(config, pretrained)
            self.pose_branch = nn.Sequential(pose.layer2, pose.layer3, pose.layer4, PooledFeature(pose.channels))
            self.pose_head = LinearHead(self.feature_size, classes.pose_clusters + 1)
        if config.synchronised_batchnorm:
            synchronise_batchnorm(self)

    @property
    def has_pose(self) -> bool:
        """Whether there is a pose branch to ask for."""
        return self.pose_branch is not None

    @property
    def embedding_size(self) -> int:
        """Length of what `embed` returns for an image."""
        return self.feature_size if self.clothes_branch is None else 2 * self.feature_size

    def forward(self, image_BCHW: Tensor, *, with_pose: bool = False) -> Outputs:
        """Compute features and logits; the pose branch, a third of the work, only if asked for.

        Args:
            image_BCHW: normalised float images; height and width multiples of 16 lose nothing at the edges. A vision
                transformer takes the configured size alone.
            with_pose: whether the pose branch is computed, if the network has one.
        """
        pose_BD = pose_BK = None
        with self._precision(image_BCHW):
            early_BCHW = self.stem_to_layer1(image_BCHW)
            clothes_BD, identity_BD = self._after_layer1(early_BCHW)
            if with_pose and self.pose_branch is not None:
                pose_BD = self.pose_branch(early_BCHW)
        if pose_BD is not None and self.pose_head is not None:
            pose_BK = self.pose_head(pose_BD)
        return Outputs(
            clothes_BD=clothes_BD,
            identity_BD=identity_BD,
            identity_clothes_BP=None if self.identity_clothes_head is None else self.identity_clothes_head(clothes_BD),
            identity_BP=self.identity_head(identity_BD),
            pose_BD=pose_BD,
            pose_BK=pose_BK,
            gender_B2=None if self.gender_head is None else self.gender_head(identity_BD),
        )

    def features(self, image_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the clothes and the identity feature alone, `(B, D)` each; one tensor twice for a single branch."""
        with self._precision(image_BCHW):
            return self._after_layer1(self.stem_to_layer1(image_BCHW))

    def _after_layer1(self, early_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        shared_BCHW = self.layer2(early_BCHW)
        if self.clothes_branch is None:
            feat_BD = self.identity_branch(shared_BCHW)
            return feat_BD, feat_BD
        return self.clothes_branch(shared_BCHW), self.identity_branch(shared_BCHW)

    def _precision(self, image_BCHW: Tensor) -> torch.autocast:
        device, dtype = image_BCHW.device.type, self.compute_dtype
        return torch.autocast(device, dtype or torch.bfloat16, enabled=dtype is not None)

    def embed(self, image_BCHW: Tensor) -> Tensor:
        """Compute what is compared at inference, `(B, embedding_size)` of unit length: the distance is −cosine.

        Clothes feature beside identity feature, or the single branch's, summed over the image and its mirror image.
        Meant for eval mode.
        """
        return F.normalize(self._compared(image_BCHW) + self._compared(image_BCHW.flip(3)), dim=1)

    def _compared(self, image_BCHW: Tensor) -> Tensor:
        clothes_BD, identity_BD = self.features(image_BCHW)
        return identity_BD if self.clothes_branch is None else torch.cat([clothes_BD, identity_BD], dim=1)


def _refuse_contradictions(config: ModelConfig, classes: ClassSpace) -> None:
    if config.pose_branch and classes.pose_clusters < 1:
        raise UsageError(
            f"model.pose_branch is true, but the data set has {classes.pose_clusters} pose clusters: "
            "give it pose clusters, or set model.pose_branch=false"
        )
