"""The frozen network that the student is pulled towards."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from rlq_ray.models.networks import ReIDNetwork


class FrozenTeacher(nn.Module):
    """A network that nothing can change: no parameter asks for a gradient, none is recorded, and it stays in eval mode.

    Takes the given network over: its parameters are frozen in place.
    """

    def __init__(self, network: ReIDNetwork) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        """Stay in eval mode, whatever is asked: BatchNorm must keep the statistics it was trained with."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, image_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the clothes and the identity feature, `(B, D)` each, for the distance to the student's."""
        return self.network.features(image_BCHW)
