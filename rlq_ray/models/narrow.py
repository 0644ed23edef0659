"""A small residual network for CPUs, in the four parts of a ResNet. Knows nothing about branches."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut (He et al., CVPR 2016)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Keep the map's size divided by the stride."""
        inner_BCHW = F.relu(self.norm1(self.conv1(map_BCHW)))
        return F.relu(self.norm2(self.conv2(inner_BCHW)) + self.shortcut(map_BCHW))


def _stage(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(ResidualBlock(channels_in, channels_out, stride), ResidualBlock(channels_out, channels_out))


def narrow_parts(width: int) -> tuple[nn.Sequential, nn.Sequential, nn.Sequential, nn.Sequential]:
    """Make stem with layer1, layer2, layer3 and layer4, of 1, 2, 4 and 8 times `width` channels.

    The stem cuts the image into patches of 4×4 pixels; the maps are 1/4, 1/8, 1/16 and 1/16 of the image's size.
    """
    stem = nn.Sequential(nn.Conv2d(3, width, 4, 4, bias=False), nn.BatchNorm2d(width), nn.ReLU())
    return (
        nn.Sequential(*stem, *_stage(width, width, 1)),
        _stage(width, 2 * width, 2),
        _stage(2 * width, 4 * width, 2),
        _stage(4 * width, 8 * width, 1),
    )
