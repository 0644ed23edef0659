"""What a named quality of query images means: the whole mix, one artefact, or a third of its range of severities."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from rlq_ray.config.schema import DegradeConfig, Quality
from rlq_ray.degrade.degrader import Degrader
from rlq_ray.degrade.sampling import draw_for_rows

SEVERITIES = ("mild", "medium", "severe")
"""The lower, middle and upper third of each range; of pixelation's sizes, which are the milder the larger, reversed."""
_SHARE = {"pixelation": "pixelation", "defocus": "gaussian", "motion": "motion"}


def degradation_of(quality: Quality, config: DegradeConfig) -> DegradeConfig | None:
    """Narrow a training's degradation down to a quality; None for `hq`, which stays as it is.

    All artefacts keep the configured ranges, so qualities of one configuration compare, those of two do not.
    """
    if quality == "hq":
        return None
    if quality == "lq":
        return config
    artefact, _, severity = quality.partition("-")
    changes: dict[str, Any] = {share: float(name == artefact) for name, share in _SHARE.items()}
    if severity:
        changes |= _third(artefact, SEVERITIES.index(severity), config)
    return DegradeConfig.model_validate({**config.model_dump(), **changes})


def degrade_to(
    quality: Quality,
    image_BCHW: Tensor,
    config: DegradeConfig,
    *,
    row_B: Tensor,
    original_size_B2: Tensor,
    seed: int,
) -> Tensor:
    """Bring images of a data set to a quality, each by a draw that depends on the seed and its row alone."""
    degradation = degradation_of(quality, config)
    if degradation is None:
        return image_BCHW
    drawn = draw_for_rows(row_B, degradation, seed)
    return Degrader(degradation)(image_BCHW, drawn, original_size_B2)


def _third(artefact: str, third: int, config: DegradeConfig) -> dict[str, tuple[float, float]]:
    if artefact == "pixelation":
        return {"pixelation_px": _whole_third(config.pixelation_px, len(SEVERITIES) - 1 - third)}
    if artefact == "motion":
        return {"motion_px": _whole_third(config.motion_px, third)}
    half_from, half_to = (size // 2 for size in config.gaussian_kernel_px)
    low, high = _whole_third((half_from, half_to), third)
    return {
        "gaussian_sigma_px": _third_of(config.gaussian_sigma_px, third),
        "gaussian_kernel_px": (2 * low + 1, 2 * high + 1),
    }


def _third_of(bounds: tuple[float, float], third: int) -> tuple[float, float]:
    start, stop = bounds
    width = (stop - start) / len(SEVERITIES)
    return start + third * width, start + (third + 1) * width


def _whole_third(bounds: tuple[int, int], third: int) -> tuple[int, int]:
    start, stop = _third_of(bounds, third)
    return round(start), round(stop)
