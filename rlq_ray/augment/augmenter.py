"""Bring canvas images to the network's input: changed as drawn for training, plain for testing.

Draws nothing; works on the device that holds the images.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlq_ray.augment.functional import enlarge_crop_flip, erase, erase_rectangles, normalise, resize
from rlq_ray.augment.sampling import AugmentDraw
from rlq_ray.config.schema import AugmentConfig


class Augmenter:
    """Apply a draw to images and normalise them."""

    def __init__(self, config: AugmentConfig, input_height: int, input_width: int) -> None:
        self._config = config
        self._size = (input_height, input_width)

    def train(self, image_BCHW: Tensor, draw: AugmentDraw) -> Tensor:
        """Resize, enlarge and crop back, mirror, brighten, normalise, erase: uint8 canvas -> float32 (B, 3, h, w).

        Keeps the memory layout.

        Raises:
            ValueError: the image is not uint8 RGB (B, 3, H, W), or the draw is for another number of images.
        """
        _check(image_BCHW)
        if len(image_BCHW) != len(draw):
            raise ValueError(f"{len(image_BCHW)} images but a draw for {len(draw)}: draw for every image")
        draw = draw.to(image_BCHW.device)
        image = enlarge_crop_flip(
            image_BCHW, draw.enlarge_B, draw.offset_B2, draw.flip_B, self._config.enlarge_factor, self._size
        )
        image = normalise(image, draw.brightness_B if self._config.brightness else None)
        if not self._config.erase_probability:
            return image
        rectangle_B4 = erase_rectangles(
            draw.erase_B, draw.erase_area_BT, draw.erase_aspect_BT, draw.erase_offset_BT2, self._size
        )
        return erase(image, rectangle_B4)

    def test(self, image_BCHW: Tensor) -> Tensor:
        """Resize and normalise: uint8 canvas -> float32 (B, 3, h, w), keeping the memory layout.

        Raises:
            ValueError: the image is not uint8 RGB (B, 3, H, W).
        """
        _check(image_BCHW)
        return normalise(resize(image_BCHW, *self._size))


def _check(image_BCHW: Tensor) -> None:
    if image_BCHW.dtype != torch.uint8 or image_BCHW.dim() != 4 or image_BCHW.shape[1] != 3:
        raise ValueError(f"image is {image_BCHW.dtype} {tuple(image_BCHW.shape)}: pass uint8 RGB (B, 3, H, W)")
