"""Random views of a batch: every draw is made for all workers' images, and each worker takes its share.

So the number of workers changes nothing. What is drawn depends on (seed, phase, step) and on the order of the calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from rlq_ray.augment import AugmentDraw, Augmenter
from rlq_ray.augment import draw as draw_augmentation
from rlq_ray.augment import draw_for_rows as draw_augmentation_for_rows
from rlq_ray.collectives import World, seeded_generator
from rlq_ray.config.schema import AugmentConfig, DegradeConfig
from rlq_ray.degrade import DegradeDraw, Degrader
from rlq_ray.degrade import draw as draw_degradation

Drawn = TypeVar("Drawn", Tensor, AugmentDraw, DegradeDraw)


@dataclass(frozen=True)
class Views:
    """Makes views of this worker's images.

    Attributes:
        augmenter: images to the network's input.
        augment: what is drawn for it.
        degrader: images to low quality, on their device.
        degrade: what is drawn for it.
        world: this worker.
        seed: of all draws.
    """

    augmenter: Augmenter
    augment: AugmentConfig
    degrader: Degrader
    degrade: DegradeConfig
    world: World
    seed: int

    def generator(self, device: torch.device, phase: str, step: int) -> torch.Generator:
        """Make the source of a step's draws."""
        return seeded_generator(device, self.seed, phase, step)

    def augmented(self, image_BCHW: Tensor, generator: torch.Generator) -> Tensor:
        """Crop, mirror, erase and normalise: uint8 canvas to the network's input."""
        drawn = self.drawn(image_BCHW, lambda num: draw_augmentation(num, self.augment, generator))
        return self.augmenter.train(image_BCHW, drawn)

    def augmented_again(self, image_BCHW: Tensor, row_B: Tensor, number: int) -> Tensor:
        """Do the same by draw number `number` of the images' rows, which no generator and no seed changes."""
        return self.augmenter.train(image_BCHW, draw_augmentation_for_rows(row_B, self.augment, number))

    def degraded(self, image_BCHW: Tensor, original_size_B2: Tensor, generator: torch.Generator) -> Tensor:
        """Give each image an artefact of its own; uint8 canvas to canvas."""
        drawn = self.drawn(image_BCHW, lambda num: draw_degradation(num, self.degrade, generator))
        return self.degrader(image_BCHW, drawn, original_size_B2)

    def chance(self, image_BCHW: Tensor, probability: float, generator: torch.Generator) -> Tensor:
        """Choose images with a probability: bool `(B,)`."""
        drawn_B = self.drawn(image_BCHW, lambda num: torch.rand(num, generator=generator, device=generator.device))
        return drawn_B < probability

    def drawn(self, image_BCHW: Tensor, draw: Callable[[int], Drawn]) -> Drawn:
        """Draw for the images of all workers, and take this worker's share."""
        num_global = len(image_BCHW) * self.world.size
        start, stop = self.world.share(num_global)
        drawn = draw(num_global)
        return drawn[start:stop] if isinstance(drawn, Tensor) else drawn.slice(start, stop)
