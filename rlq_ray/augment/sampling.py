"""Draw how each training image is changed, as a value that can be replayed, sliced and logged.

Knows no images, not even their size. Every image consumes the same amount of randomness whatever it gets, so the draw
for a global batch can be sliced among workers.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from rlq_ray.chance import uniform_of_rows
from rlq_ray.config.schema import AugmentConfig

# A rectangle of the published range fits about 7 times in 10, so 10 tries fail for one image in 100,000.
ERASE_TRIES = 10
NUMBERS_PER_IMAGE = 6 + 4 * ERASE_TRIES


@dataclass(frozen=True)
class AugmentDraw:
    """What happens to each of B images.

    `flip_B`, `enlarge_B` and `erase_B` are bool. `offset_B2` is (y, x) of the window in the enlarged image, as a share
    of the room there is. The T tries of a rectangle to erase are `erase_area_BT` (share of the image's area),
    `erase_aspect_BT` (height/width) and `erase_offset_BT2` ((y, x) as a share of the room); the first that fits into
    the image is taken. `brightness_B` is a factor. All but the bools are float32.
    """

    flip_B: Tensor
    enlarge_B: Tensor
    offset_B2: Tensor
    erase_B: Tensor
    erase_area_BT: Tensor
    erase_aspect_BT: Tensor
    erase_offset_BT2: Tensor
    brightness_B: Tensor

    def __len__(self) -> int:
        return len(self.flip_B)

    def slice(self, start: int, stop: int) -> AugmentDraw:
        """Take the images start…stop − 1, such as one worker's share."""
        return AugmentDraw(*(getattr(self, f.name)[start:stop] for f in fields(self)))

    def to(self, device: torch.device) -> AugmentDraw:
        """Copy to a device without waiting for it."""
        return AugmentDraw(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))


def draw(num: int, config: AugmentConfig, generator: torch.Generator) -> AugmentDraw:
    """Draw for `num` images, on the generator's device."""
    return _from_uniform(torch.rand(num, NUMBERS_PER_IMAGE, generator=generator, device=generator.device), config)


def draw_for_rows(row_B: Tensor, config: AugmentConfig, number: int) -> AugmentDraw:
    """Make draw number `number` of images of a data set, which depends on (number, row) alone."""
    uniform_BN = uniform_of_rows(row_B, number, NUMBERS_PER_IMAGE)
    return _from_uniform(((uniform_BN * 2**24).floor() * 2**-24).float(), config)  # or float32 would round up to 1


def _from_uniform(uniform_BN: Tensor, config: AugmentConfig) -> AugmentDraw:
    """Turn uniform float32 numbers of [0, 1), as many as `NUMBERS_PER_IMAGE`, into what happens to each image."""
    flip, enlarge, top, left, erase, brightness = uniform_BN[:, :6].unbind(dim=1)
    tries = uniform_BN[:, 6:].view(-1, ERASE_TRIES, 4)
    area_from, area_to = config.erase_area
    aspect_from, aspect_to = config.erase_aspect
    return AugmentDraw(
        flip_B=flip < config.flip_probability,
        enlarge_B=enlarge < config.enlarge_probability,
        offset_B2=torch.stack([top, left], dim=1),
        erase_B=erase < config.erase_probability,
        erase_area_BT=area_from + tries[..., 0] * (area_to - area_from),
        erase_aspect_BT=aspect_from + tries[..., 1] * (aspect_to - aspect_from),
        erase_offset_BT2=tries[..., 2:],
        brightness_B=1 + config.brightness * (2 * brightness - 1),
    )
