"""Random changes to training images: enlarging, mirroring, erasing, brightness, and copies in other clothes."""

from rlq_ray.augment.augmenter import Augmenter
from rlq_ray.augment.recolour import (
    COLOURS,
    NUM_PAIRS,
    draw_pairs,
    recolour,
    recoloured_clothes,
)
from rlq_ray.augment.sampling import AugmentDraw, draw, draw_for_rows

__all__ = [
    "COLOURS",
    "NUM_PAIRS",
    "AugmentDraw",
    "Augmenter",
    "draw",
    "draw_for_rows",
    "draw_pairs",
    "recolour",
    "recoloured_clothes",
]
