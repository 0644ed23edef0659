"""The published network, written anew from its description with torchvision alone, and a file as it would save it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

IDENTITIES, OUTFITS, POSES = 5, 9, 16


def stages() -> list[nn.Module]:
    """conv1, bn1, relu, maxpool, layer1 … layer4 of a ResNet-50 whose last stage keeps the resolution."""
    resnet = torchvision.models.resnet50(weights=None)
    resnet.layer4[0].conv2.stride = resnet.layer4[0].downsample[0].stride = (1, 1)
    return list(resnet.children())[:8]


class Head(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(4096, classes)


class Published(nn.Module):
    """Modules by the names of the released files."""

    def __init__(self, *, with_pose: bool) -> None:
        super().__init__()
        first = stages()
        self.common = nn.Sequential(*first[:6])
        self.branch1 = nn.Sequential(*first[6:])
        self.branch2 = nn.Sequential(*stages()[6:])
        self.bn1, self.bn2 = nn.BatchNorm1d(4096), nn.BatchNorm1d(4096)
        self.identity_classifier = Head(IDENTITIES)
        if with_pose:
            self.branch3 = nn.Sequential(*stages()[5:])
            self.bn3 = nn.BatchNorm1d(4096)
            self.identity_classifier2 = Head(POSES)

    def pooled(self, branch: nn.Module, norm: nn.Module, image_map: Tensor) -> Tensor:
        last = branch(image_map).flatten(2)
        return norm(torch.cat([last.max(dim=2).values, last.mean(dim=2)], dim=1))

    def features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        shared = self.common(image)
        return self.pooled(self.branch1, self.bn1, shared), self.pooled(self.branch2, self.bn2, shared)

    def pose_logits(self, image: Tensor) -> Tensor:
        return self.identity_classifier2.classifier(self.pooled(self.branch3, self.bn3, self.common[:5](image)))

    def embedding(self, image: Tensor) -> Tensor:
        total = torch.cat(self.features(image), dim=1) + torch.cat(self.features(torch.flip(image, [3])), dim=1)
        return F.normalize(total, p=2, dim=1)


class Release:
    """A trained model as its authors would have saved it; `content` is what lies in the file."""

    def __init__(self, *, with_pose: bool, recolourings: int) -> None:
        torch.manual_seed(3)
        self.model = Published(with_pose=with_pose)
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.0)
                nn.init.normal_(module.bias, std=0.2)
                module.momentum = None  # take the statistics of what it sees, so that features tell images apart
        with torch.no_grad():
            self.model.features(torch.randn(4, 3, 64, 32))
            if with_pose:
                self.model.pose_logits(torch.randn(4, 3, 64, 32))
        self.model.eval()
        self.classifier = Head(IDENTITIES)
        self.clothes = torch.randn(OUTFITS + recolourings * IDENTITIES, 4096)
        self.content: dict[str, Any] = {
            "model_state_dict": self.model.state_dict(),
            "classifier_state_dict": self.classifier.state_dict(),
            "clothes_classifier_state_dict": {"weight": self.clothes},
            "rank1": np.float64(0.464),
            "epoch": 29,
        }


@pytest.fixture(scope="session")
def full_release() -> Release:
    """Three branches, recoloured clothes."""
    return Release(with_pose=True, recolourings=81)


@pytest.fixture(scope="session")
def base_release() -> Release:
    """Two branches, no recolouring."""
    return Release(with_pose=False, recolourings=0)
