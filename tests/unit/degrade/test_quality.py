"""Named qualities are parts of one configured degradation."""

from typing import get_args

import pytest
import torch

from rlq_ray.config.schema import DegradeConfig, Quality
from rlq_ray.degrade import GAUSSIAN, MOTION, PIXELATION, SEVERITIES, degradation_of, draw_for_rows

ROWS = torch.arange(300)
KINDS = {"pixelation": PIXELATION, "defocus": GAUSSIAN, "motion": MOTION}


def test_every_quality_but_hq_degrades() -> None:
    config = DegradeConfig()
    assert degradation_of("hq", config) is None
    assert degradation_of("lq", config) == config
    for quality in get_args(Quality)[1:]:
        assert len(draw_for_rows(ROWS, degradation_of(quality, config), 7)) == len(ROWS)


@pytest.mark.parametrize("artefact", KINDS)
def test_an_artefact_is_every_images_and_keeps_its_range(artefact: str) -> None:
    drawn = draw_for_rows(ROWS, degradation_of(artefact, DegradeConfig()), 7)
    assert (drawn.kind_B == KINDS[artefact]).all()
    assert (int(drawn.short_side_B.min()), int(drawn.short_side_B.max())) == (16, 63)


@pytest.mark.parametrize(
    ("artefact", "field", "bounds"),
    [
        ("pixelation", "short_side_B", {"mild": (47, 63), "medium": (32, 47), "severe": (16, 32)}),
        ("motion", "length_B", {"mild": (8, 12), "medium": (12, 15), "severe": (15, 19)}),
        ("defocus", "kernel_px_B", {"mild": (5, 11), "medium": (11, 15), "severe": (15, 21)}),
        ("defocus", "sigma_B", {"mild": (0.1, 0.74), "medium": (0.73, 1.37), "severe": (1.36, 2.0)}),
    ],
)
def test_a_severity_is_a_third_of_the_range(artefact: str, field: str, bounds: dict) -> None:
    for severity in SEVERITIES:
        drawn = draw_for_rows(ROWS, degradation_of(f"{artefact}-{severity}", DegradeConfig()), 7)
        low, high = bounds[severity]
        assert low <= float(getattr(drawn, field).min()) <= float(getattr(drawn, field).max()) <= high


def test_the_same_row_is_degraded_alike_in_all_severities_but_for_the_strength() -> None:
    mild, severe = (
        draw_for_rows(ROWS, degradation_of(f"motion-{name}", DegradeConfig()), 7) for name in ("mild", "severe")
    )
    assert torch.equal(mild.angle_B, severe.angle_B)
    assert (severe.length_B > mild.length_B).all()
