"""Synthetic low quality: pixelation, out-of-focus blur and motion blur, with parameters of its own for every image."""

from rlq_ray.degrade.degrader import Degrader, describe
from rlq_ray.degrade.functional import defocus, motion_blur, pixelate
from rlq_ray.degrade.quality import SEVERITIES, degradation_of, degrade_to
from rlq_ray.degrade.sampling import GAUSSIAN, MOTION, PIXELATION, DegradeDraw, draw, draw_for_rows

__all__ = [
    "GAUSSIAN",
    "MOTION",
    "PIXELATION",
    "SEVERITIES",
    "DegradeDraw",
    "Degrader",
    "defocus",
    "degradation_of",
    "degrade_to",
    "describe",
    "draw",
    "draw_for_rows",
    "motion_blur",
    "pixelate",
]
