"""EVA-02 in the four parts of a backbone, so that branches can fork between its blocks. Knows nothing about branches.

Fang et al., "EVA-02: A Visual Representation for Neon Genesis", arXiv:2303.11331; Sun et al., "EVA-CLIP",
arXiv:2303.15389. The blocks are timm's; only how they are chained stands here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

ARCHITECTURES = {
    "eva02_tiny": "eva02_tiny_patch14_224",
    "eva02_base": "eva02_base_patch16_clip_224",
    "eva02_large": "eva02_large_patch14_clip_224",
}
"""timm's names. Base and large are the image towers of EVA-CLIP, with which the strongest published results begin; the
base one's patches of 16 pixels give a map as fine as a ResNet's. EVA-CLIP has no tiny one."""


class Tokens(nn.Module):
    """Image (B, 3, H, W) to the class token and the patches, with their learned positions: (B, 1 + N, C)."""

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.patches = transformer.patch_embed
        self.class_token = transformer.cls_token
        self.position = transformer.pos_embed

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Cut and embed; the image has the size that the network was built for."""
        patch_BNC = self.patches(image_BCHW)
        # not len(…), which would fix the number of images where the network is exported
        class_B1C = self.class_token.expand(patch_BNC.shape[0], -1, -1)
        return torch.cat([class_B1C, patch_BNC], dim=1) + self.position


class Blocks(nn.Module):
    """Consecutive transformer blocks, each of which turns queries and keys by the patches' places."""

    def __init__(self, blocks: list[nn.Module], rotation_NC: Tensor) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        # It follows from the input's size, so it is no part of what a checkpoint holds.
        self.rotation_NC = nn.Buffer(rotation_NC.clone(), persistent=False)

    def forward(self, token_BNC: Tensor) -> Tensor:
        """Keep the tokens' shape."""
        for block in self.blocks:
            token_BNC = block(token_BNC, rope=self.rotation_NC)
        return token_BNC


class PatchMap(nn.Module):
    """Tokens (B, 1 + H·W, C), normalised, to the map of the patches (B, C, H, W).

    The class token is left out: what follows pools over places, as it does with the ResNets. The blocks keep it, since
    their weights were trained with it, and the patches have read from it.
    """

    def __init__(self, norm: nn.Module, grid: tuple[int, int]) -> None:
        super().__init__()
        self.norm = norm
        self.grid = grid

    def forward(self, token_BNC: Tensor) -> Tensor:
        """Lay the patches out as they lie in the image."""
        patch_BNC = self.norm(token_BNC)[:, 1:]
        return patch_BNC.transpose(1, 2).unflatten(2, self.grid)


def build_transformer(backbone: str, input_height: int, input_width: int) -> Any:
    """Make timm's network for an input size in pixels, without a classifier and with weights drawn at random."""
    # With the token as its pooling the last norm is a part of the blocks' chain, in the tiny network too.
    size = (input_height, input_width)
    return timm.create_model(ARCHITECTURES[backbone], img_size=size, num_classes=0, global_pool="token")


def part_transformer(transformer: Any) -> tuple[nn.Sequential, Blocks, Blocks, nn.Sequential]:
    """Cut a network into four parts with a quarter of the blocks each.

    A ResNet-50 has 3 of its 16 blocks before the place where the pose branch forks, and 7 before the other branches do:
    a quarter and a half are nearest to that.
    """
    quarter = len(transformer.blocks) // 4
    rotation_NC = transformer.rope.get_embed()
    first, second, third, fourth = (
        Blocks(list(transformer.blocks[start : start + quarter]), rotation_NC)
        for start in range(0, 4 * quarter, quarter)
    )
    patch_map = PatchMap(transformer.norm, transformer.patch_embed.grid_size)
    return nn.Sequential(Tokens(transformer), first), second, third, nn.Sequential(fourth, patch_map)


def fit_to_input(pretrained: Mapping[str, Tensor], transformer: Any) -> dict[str, Tensor]:
    """Give timm's published tensors the shapes and names that a network of another input size has.

    Positions of a square grid, as published weights have them, are resampled to the network's grid; others are left
    as they are. `fc_norm` is timm's name of the last norm where features are averaged.
    """
    state = dict(pretrained)
    for kind in ("weight", "bias"):
        if f"fc_norm.{kind}" in state and f"norm.{kind}" not in state:
            state[f"norm.{kind}"] = state.pop(f"fc_norm.{kind}")
    position_1NC = state.get("pos_embed")
    if position_1NC is None or position_1NC.ndim != 3:
        return state
    side = math.isqrt(position_1NC.shape[1] - 1)
    if side * side == position_1NC.shape[1] - 1:
        grid = transformer.patch_embed.grid_size
        state["pos_embed"] = resample_abs_pos_embed(position_1NC, new_size=grid, old_size=(side, side))
    return state
