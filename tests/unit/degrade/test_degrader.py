"""The degrader: each image its own artefact, whatever batch, worker or back end."""

from dataclasses import replace

import pytest
import torch

from rlq_ray.config.schema import DegradeConfig
from rlq_ray.degrade import (
    GAUSSIAN,
    MOTION,
    PIXELATION,
    DegradeDraw,
    Degrader,
    defocus,
    describe,
    draw,
    motion_blur,
    pixelate,
)

CONFIG = DegradeConfig()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (12, 3, 64, 40), generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def sizes() -> torch.Tensor:
    return torch.tensor([[64, 40], [128, 80], [300, 90], [50, 30]]).repeat(3, 1)


@pytest.fixture(scope="module")
def drawn() -> DegradeDraw:
    kind_B = torch.arange(12, dtype=torch.int8) % 3
    return replace(draw(12, CONFIG, torch.Generator().manual_seed(5)), kind_B=kind_B)


def test_refuses_what_is_not_one_per_image(images, drawn, sizes) -> None:
    with pytest.raises(ValueError, match="11 images, 12 draws, 12 sizes"):
        Degrader(CONFIG)(images[:11], drawn, sizes)
    with pytest.raises(ValueError, match=r"largest_enlargement is 0\.5"):
        Degrader(CONFIG, largest_enlargement=0.5)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("pixels", ["original", "canvas"])
def test_keeps_shape_type_and_layout(images, drawn, sizes, layout, device, pixels) -> None:
    image = images.to(device).contiguous(memory_format=layout)
    out = Degrader(DegradeConfig(pixels=pixels))(image, drawn, sizes)
    assert out.shape == image.shape
    assert out.dtype == torch.uint8
    assert out.is_contiguous(memory_format=layout)


def test_each_image_gets_its_own_artefact(images, drawn, sizes) -> None:
    out = Degrader(CONFIG)(images, drawn, sizes)
    for i in range(len(images)):
        one, size, image = drawn.slice(i, i + 1), sizes[i : i + 1], images[i : i + 1]
        expected = {
            PIXELATION: lambda: pixelate(image, one.short_side_B, size),  # noqa: B023 (called in this turn)
            GAUSSIAN: lambda: defocus(image, one.kernel_px_B, one.sigma_B, size),  # noqa: B023
            MOTION: lambda: motion_blur(image, one.length_B, one.angle_B, size),  # noqa: B023
        }[int(one.kind_B)]()
        assert torch.equal(out[i : i + 1], expected)


def test_leaves_its_input_alone_and_replays(images, drawn, sizes) -> None:
    before = images.clone()
    degrader = Degrader(CONFIG)
    assert torch.equal(degrader(images, drawn, sizes), degrader(images, drawn, sizes))
    assert torch.equal(images, before)


def test_workers_shares_make_up_the_global_batch(images, drawn, sizes) -> None:
    degrader = Degrader(CONFIG)
    parts = [degrader(images[i : i + 4], drawn.slice(i, i + 4), sizes[i : i + 4]) for i in (0, 4, 8)]
    assert torch.equal(torch.cat(parts), degrader(images, drawn, sizes))


def test_canvas_pixels_ignore_the_stored_size(images, drawn, sizes) -> None:
    degrader = Degrader(DegradeConfig(pixels="canvas"))
    unscaled = torch.tensor([[64, 40]]).expand(12, 2)
    assert torch.equal(degrader(images, drawn, sizes), Degrader(CONFIG)(images, drawn, unscaled))


def test_the_form_for_gpus_gives_the_same(images, drawn, sizes, monkeypatch) -> None:
    expected = Degrader(CONFIG)(images, drawn, sizes)
    from rlq_ray.degrade import batched, functional

    monkeypatch.setattr(functional, "looped", batched)
    out = Degrader(CONFIG)._all_of_each(images, drawn, sizes)
    difference = (out.int() - expected.int()).abs()
    # Pixelation rounds four times, and the CPU's weights are fixed-point.
    assert difference.max() <= 2
    assert difference.float().mean() < 0.02


def test_an_enlargement_beyond_the_limit_counts_as_the_limit(images, drawn) -> None:
    blurred = replace(drawn, kind_B=torch.full((12,), GAUSSIAN, dtype=torch.int8))
    degrader = Degrader(CONFIG, largest_enlargement=2)
    twice, thrice = torch.tensor([[32, 20]]).expand(12, 2), torch.tensor([[16, 10]]).expand(12, 2)
    assert torch.equal(degrader(images, blurred, thrice), degrader(images, blurred, twice))
    assert not torch.equal(Degrader(CONFIG, 4)(images, blurred, thrice), degrader(images, blurred, twice))


def test_describes_what_was_drawn() -> None:
    def one(kind: int) -> DegradeDraw:
        numbers = (torch.tensor([x]) for x in (18, 9, 1.25, 12, 40))
        return DegradeDraw(torch.tensor([kind], dtype=torch.int8), *numbers)

    assert describe(one(PIXELATION), 0) == "pixelation 18 px"
    assert describe(one(GAUSSIAN), 0) == "defocus σ 1.2 px"
    assert describe(one(MOTION), 0) == "motion 12 px, 40°"
    with pytest.raises(ValueError, match="is 3: pass 0"):
        describe(one(3), 0)
