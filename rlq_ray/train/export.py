"""A trained network as one module that others can use without this library."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rlq_ray.augment.functional import IMAGENET_MEAN, IMAGENET_STD
from rlq_ray.models import ReIDNetwork


class InferenceModel(nn.Module):
    """Images to features: RGB in [0, 1] of the network's input size, `(B, 3, H, W)` → `(B, D)` of unit length."""

    def __init__(self, network: ReIDNetwork) -> None:
        super().__init__()
        self.network = network
        self.mean_C11 = nn.Buffer(torch.tensor(IMAGENET_MEAN)[:, None, None])
        self.std_C11 = nn.Buffer(torch.tensor(IMAGENET_STD)[:, None, None])

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Normalise and embed."""
        return self.network.embed((image_BCHW - self.mean_C11) / self.std_C11)
