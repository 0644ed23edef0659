"""Draw which artefact each image gets, and its parameters, as a value that can be replayed, sliced and logged.

Knows no images. Every image consumes the same amount of randomness whatever it gets, so the draw for a global batch
can be sliced among workers, and all parameters are drawn for every image, used or not.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from rlq_ray.chance import uniform_of_rows
from rlq_ray.config.schema import DegradeConfig

PIXELATION, GAUSSIAN, MOTION = 0, 1, 2
ANGLES_DEG = 180
NUMBERS_PER_IMAGE = 6


@dataclass(frozen=True)
class DegradeDraw:
    """What happens to each of B images; sizes in pixels of the stored image or the canvas, as configured.

    `kind_B` (int8) is PIXELATION, GAUSSIAN or MOTION. `short_side_B`, `kernel_px_B` (odd), `length_B` and `angle_B`
    (degrees, 0…179) are int64; `sigma_B` is float32.
    """

    kind_B: Tensor
    short_side_B: Tensor
    kernel_px_B: Tensor
    sigma_B: Tensor
    length_B: Tensor
    angle_B: Tensor

    def __len__(self) -> int:
        return len(self.kind_B)

    def slice(self, start: int, stop: int) -> DegradeDraw:
        """Take the images start…stop − 1, such as one worker's share."""
        return DegradeDraw(*(getattr(self, f.name)[start:stop] for f in fields(self)))

    def take(self, index_N: Tensor) -> DegradeDraw:
        """Take the images at an index (N,)."""
        return DegradeDraw(*(getattr(self, f.name)[index_N] for f in fields(self)))

    def to(self, device: torch.device) -> DegradeDraw:
        """Copy to a device without waiting for it."""
        return DegradeDraw(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))


def draw(num: int, config: DegradeConfig, generator: torch.Generator) -> DegradeDraw:
    """Draw for `num` images, on the generator's device."""
    uniform = torch.rand(num, NUMBERS_PER_IMAGE, generator=generator, device=generator.device, dtype=torch.float64)
    return _from_uniform(uniform, config)


def draw_for_rows(row_B: Tensor, config: DegradeConfig, seed: int) -> DegradeDraw:
    """Draw for images of a data set by (seed, row) alone: the same in any batch, on any worker."""
    return _from_uniform(uniform_of_rows(row_B, seed, NUMBERS_PER_IMAGE), config)


def _from_uniform(uniform_BN: Tensor, config: DegradeConfig) -> DegradeDraw:
    """Turn six uniform numbers of [0, 1) per image into its artefact."""
    kind, short, kernel, sigma, length, angle = uniform_BN.unbind(dim=1)
    # Written without a tensor of the shares, which a GPU would have to wait for; a share of 0 leaves an empty interval.
    after_pixelation = (kind >= config.pixelation).to(torch.int8)
    after_gaussian = (kind >= config.pixelation + config.gaussian).to(torch.int8)
    if config.motion == 0:
        after_gaussian = torch.zeros_like(after_gaussian)
    if config.gaussian == 0 and config.motion == 0:
        after_pixelation = torch.zeros_like(after_pixelation)
    kernel_from, kernel_to = config.gaussian_kernel_px
    sigma_from, sigma_to = config.gaussian_sigma_px
    return DegradeDraw(
        kind_B=after_pixelation + after_gaussian,
        short_side_B=_integer(short, *config.pixelation_px),
        kernel_px_B=2 * _integer(kernel, kernel_from // 2, kernel_to // 2) + 1,
        sigma_B=(sigma_from + sigma * (sigma_to - sigma_from)).float(),
        length_B=_integer(length, *config.motion_px),
        angle_B=_integer(angle, 0, ANGLES_DEG - 1),
    )


def _integer(uniform_B: Tensor, smallest: int, largest: int) -> Tensor:
    return smallest + (uniform_B * (largest - smallest + 1)).long()
