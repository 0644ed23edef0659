"""Every published setting against the libraries that the paper's code degrades with: PIL, OpenCV and torchvision."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rlq_ray.config.schema import DegradeConfig
from rlq_ray.degrade import (
    GAUSSIAN,
    MOTION,
    PIXELATION,
    Degrader,
    batched,
    defocus,
    draw,
    functional,
    motion_blur,
    pixelate,
)

SIZES = [(128, 64), (97, 70), (64, 90), (200, 66)]
"""Short sides above every r, down and across, odd, and taller than two widths."""
KINDS = ["natural", "noise", "edges", "ramp"]
ANGLES_DEG = (0, 1, 22, 45, 78, 90, 113, 135, 179)
SIGMAS = (0.1, 0.45, 1.0, 1.37, 2.0)


@pytest.fixture(params=["looped", "batched"])
def back_end(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Send CPU images through either back end."""
    if request.param == "batched":
        monkeypatch.setattr(functional, "looped", batched)
    return request.param


@pytest.fixture(params=KINDS)
def image_of(request: pytest.FixtureRequest, natural):
    """Make an image (3, H, W) of one kind: overshoot, aliasing, borders and rounding all show in one of them."""

    def make(height: int, width: int) -> Tensor:
        if request.param == "natural":
            return natural(height, width, seed=height)
        if request.param == "noise":
            generator = torch.Generator().manual_seed(width)
            return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
        y, x = torch.arange(height)[:, None], torch.arange(width)
        plane = (y // 5 + x // 7) % 2 * 255 if request.param == "edges" else y + x
        return torch.stack([plane, plane.flip(0), plane.flip(1)]).to(torch.uint8)

    return make


def _mean_difference(out_BCHW: Tensor, expected_BCHW: Tensor) -> Tensor:
    return (out_BCHW.int() - expected_BCHW.int()).abs().float().mean(dim=(1, 2, 3))


def _difference(out: Tensor, expected: Tensor) -> int:
    return int((out.int() - expected.int()).abs().max())


@pytest.mark.parametrize("size", SIZES)
def test_pixelation_is_pil_s_at_every_short_side(size, image_of, back_end, published) -> None:
    image_CHW, short_sides = image_of(*size), list(range(16, 64))
    out_BCHW = pixelate(image_CHW.expand(len(short_sides), *image_CHW.shape), torch.tensor(short_sides))
    for out_CHW, short_side in zip(out_BCHW, short_sides, strict=True):
        expected = published.onto(published.pixelate(image_CHW, short_side), *size)
        assert _difference(out_CHW, expected) <= 2, short_side


@pytest.mark.parametrize("image_of", ["natural", "ramp"], indirect=True)
def test_pixelation_is_pil_s_on_the_published_canvas(image_of, back_end, published) -> None:
    image_CHW = image_of(384, 192)
    for short_side in (16, 19, 24, 32, 33, 48, 63):  # whole ratios, where a ramp is full of halves, and others
        out_BCHW = pixelate(image_CHW[None], torch.tensor([short_side]))
        expected = published.onto(published.pixelate(image_CHW, short_side), 384, 192)
        assert _difference(out_BCHW[0], expected) <= 2, short_side


@pytest.mark.parametrize("size", SIZES)
def test_defocus_is_torchvision_s_at_every_kernel(size, image_of, back_end, published) -> None:
    image_CHW = image_of(*size)
    settings = [(kernel_px, sigma) for kernel_px in range(5, 22, 2) for sigma in SIGMAS]
    kernels, sigmas = (torch.tensor(values) for values in zip(*settings, strict=True))
    out_BCHW = defocus(image_CHW.expand(len(settings), *image_CHW.shape), kernels, sigmas)
    for out_CHW, setting in zip(out_BCHW, settings, strict=True):
        assert _difference(out_CHW, published.defocus(image_CHW, *setting)) <= 2, setting


@pytest.mark.parametrize("size", SIZES)
def test_motion_is_opencv_s_at_every_length(size, image_of, back_end, published) -> None:
    image_CHW = image_of(*size)
    settings = [(length, angle) for length in range(8, 20) for angle in ANGLES_DEG]
    lengths, angles = (torch.tensor(values) for values in zip(*settings, strict=True))
    out_BCHW = motion_blur(image_CHW.expand(len(settings), *image_CHW.shape), lengths, angles)
    for out_CHW, setting in zip(out_BCHW, settings, strict=True):
        assert _difference(out_CHW, published.motion_blur(image_CHW, *setting)) <= 2, setting


@pytest.mark.parametrize("pixels", ["original", "canvas"])
def test_a_drawn_batch_is_the_libraries_image_by_image(pixels, natural, back_end, published) -> None:
    config, size = DegradeConfig(pixels=pixels), (128, 64)
    image_BCHW = torch.stack([natural(*size, seed=seed) for seed in range(48)])
    stored_B2 = torch.tensor([size if pixels == "original" else (500, 200)]).expand(48, 2)
    drawn = draw(48, config, torch.Generator().manual_seed(11))
    assert drawn.kind_B.unique().tolist() == [PIXELATION, GAUSSIAN, MOTION]
    out_BCHW = Degrader(config)(image_BCHW, drawn, stored_B2)
    for i, image_CHW in enumerate(image_BCHW):
        expected = published.onto(published.degrade(image_CHW, drawn, i), *size)
        assert _difference(out_BCHW[i], expected) <= 2, i
    # The draw is a value: the same images come of it again, in another order and beside others.
    order = torch.randperm(48, generator=torch.Generator().manual_seed(0))
    replayed = Degrader(config)(image_BCHW[order], drawn.take(order), stored_B2)
    assert torch.equal(replayed, out_BCHW[order])


@pytest.mark.parametrize("stored", [(128, 64), (256, 128), (384, 192), (600, 250), (800, 400)])
def test_original_pixels_come_close_to_degrading_the_stored_image(stored, natural, published) -> None:
    config, num = DegradeConfig(), 12
    canvas = (384, 192)
    image_of = [natural(*stored, seed=seed) for seed in range(num)]
    resized_BCHW = torch.stack([published.onto(image_CHW, *canvas) for image_CHW in image_of])
    kind_B = torch.arange(num, dtype=torch.int8) % 3
    drawn = replace(draw(num, config, torch.Generator().manual_seed(2)), kind_B=kind_B)
    expected = torch.stack([published.onto(published.degrade(image_of[i], drawn, i), *canvas) for i in range(num)])
    off_B = _mean_difference(Degrader(config)(resized_BCHW, drawn, torch.tensor([stored]).expand(num, 2)), expected)
    changed_B = _mean_difference(resized_BCHW, expected)
    for kind in (PIXELATION, GAUSSIAN, MOTION):
        chosen_B = kind_B == kind
        assert off_B[chosen_B].mean() < (0.05 if stored == canvas else 1.6)
        assert off_B[chosen_B].mean() < 0.3 * changed_B[chosen_B].mean()
