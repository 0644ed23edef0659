"""What follows a branch's last feature map: pooling, normalisation and classifiers. Knows no labels and no losses.

All of it runs in the precision of its own weights even under autocast: it costs little and its results are compared.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PooledFeature(nn.Module):
    """Feature map (B, C, H, W) to feature (B, 2C): maximum and average over all places, then BatchNorm.

    The maxima come first. BatchNorm starts with weight ~ N(1, 0.02) and bias 0.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2 * channels)
        nn.init.normal_(self.norm.weight, mean=1.0, std=0.02)
        nn.init.zeros_(self.norm.bias)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Pool, then normalise."""
        with torch.autocast(map_BCHW.device.type, enabled=False):
            map_BCHW = map_BCHW.to(self.norm.weight.dtype)
            pooled_BD = torch.cat([map_BCHW.amax(dim=(2, 3)), map_BCHW.mean(dim=(2, 3))], dim=1)
            normalised_BD: Tensor = self.norm(pooled_BD)
            return normalised_BD


class LinearHead(nn.Linear):
    """Logits of a feature; weights start as N(0, 0.001), bias 0."""

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        nn.init.normal_(self.weight, std=0.001)
        nn.init.zeros_(self.bias)

    def forward(self, feat_BD: Tensor) -> Tensor:
        """Compute the logits `(B, P)`."""
        with torch.autocast(feat_BD.device.type, enabled=False):
            return super().forward(feat_BD.to(self.weight.dtype))


class CosineClassifier(nn.Module):
    """Cosine of a feature (B, D) with one row per class: (B, C) in [−1, 1].

    Rows start as random unit vectors; feature and rows are normalised on every call. Gu et al. (CAL), CVPR 2022.
    """

    def __init__(self, feature_size: int, num_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.empty(num_classes, feature_size).uniform_(-1, 1), dim=1))

    def forward(self, feat_BD: Tensor) -> Tensor:
        """Compute the cosines `(B, C)`, not yet scaled."""
        with torch.autocast(feat_BD.device.type, enabled=False):
            unit_BD = F.normalize(feat_BD.to(self.weight.dtype), dim=1)
            # Dividing the answers instead of the rows: there are thousands of rows, and few answers to each.
            length_C = torch.linalg.vector_norm(self.weight, dim=1).clamp_min(1e-12)
            return F.linear(unit_BD, self.weight) / length_C


def build_clothes_classifier(feature_size: int, num_clothes: int) -> CosineClassifier:
    """Make the classifier of `num_clothes` clothes classes, recoloured ones included, with an optimiser of its own.

    It is no part of the network: the network learns against it.
    """
    return CosineClassifier(feature_size, num_clothes)
