"""Each artefact against a slow per-image reference, and the two back ends against each other."""

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from PIL import Image

from rlq_ray.degrade import batched, defocus, looped, motion_blur, pixelate
from rlq_ray.degrade.kernels import gaussian_taps, motion_kernel

SIZE = (96, 56)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Noise, hard edges and a smooth ramp: overshoot, aliasing and borders all show."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.randint(0, 256, (2, 3, *SIZE), generator=generator, dtype=torch.uint8)
    edges = (torch.arange(SIZE[0])[:, None] // 5 + torch.arange(SIZE[1]) // 7) % 2 * 255
    ramp = torch.arange(SIZE[0])[:, None] + torch.arange(SIZE[1])
    plain = torch.stack([edges, ramp]).to(torch.uint8)[:, None].expand(2, 3, *SIZE)
    return torch.cat([noise, plain])


def _difference(a: torch.Tensor, b: torch.Tensor) -> int:
    return int((a.int() - b.int()).abs().max())


def _pil_pixelate(image: torch.Tensor, short_side: int) -> torch.Tensor:
    height, width = image.shape[1:]
    short = min(height, width)
    small = (short_side * width // short, short_side * height // short)
    pil = Image.fromarray(image.permute(1, 2, 0).numpy()).resize(small, Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(pil.resize((width, height), Image.Resampling.BILINEAR))).permute(2, 0, 1)


def _correlate(image: torch.Tensor, kernel: np.ndarray) -> torch.Tensor:
    """Correlate with reflect-101 borders and OpenCV's anchor (size // 2), as scipy has them under "mirror"."""
    planes = [scipy.ndimage.correlate(plane.numpy().astype(np.float64), kernel, mode="mirror") for plane in image]
    return torch.from_numpy(np.stack(planes)).round().clamp(0, 255).to(torch.uint8)


def _line_kernel(size: int, angle: float) -> np.ndarray:
    """Rotate a line by looking every output pixel up in the unrotated kernel, one at a time."""
    line = np.zeros((size, size))
    line[(size - 1) // 2] = 1
    centre, radians = size / 2 - 0.5, math.radians(angle)
    rotated = np.zeros((size, size))
    for y in range(size):
        for x in range(size):
            at_x = math.cos(radians) * (x - centre) - math.sin(radians) * (y - centre) + centre
            at_y = math.sin(radians) * (x - centre) + math.cos(radians) * (y - centre) + centre
            for i in range(size):
                for j in range(size):
                    rotated[y, x] += line[i, j] * max(0, 1 - abs(at_y - i)) * max(0, 1 - abs(at_x - j))
    return rotated / rotated.sum()


def _gaussian_kernel(size: int, sigma: float) -> np.ndarray:
    taps = np.exp(-0.5 * (np.linspace(-(size - 1) / 2, (size - 1) / 2, size) / sigma) ** 2)
    return np.outer(taps, taps) / taps.sum() ** 2


@pytest.mark.parametrize(
    "operator", [pixelate, lambda i, p: defocus(i, p, p.float()), lambda i, p: motion_blur(i, p, p)]
)
def test_refuses_other_images_and_other_batch_sizes(operator) -> None:
    image = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(ValueError, match="pass a uint8 image"):
        operator(image.float(), torch.tensor([5, 5]))
    with pytest.raises(ValueError, match="2 images but 3 parameters"):
        operator(image, torch.tensor([5, 5, 5]))


def test_refuses_kernels_beyond_the_largest(images) -> None:
    with pytest.raises(ValueError, match="23 px but largest_px is 21"):
        defocus(images[:1], torch.tensor([23]), torch.tensor([1.0]))
    with pytest.raises(ValueError, match="20 px but largest_px is 19"):
        motion_blur(images[:1], torch.tensor([20]), torch.tensor([0]))


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_keeps_shape_type_and_layout_and_reads_no_value_off_the_cpu(images, layout, device) -> None:
    # A meta tensor has no values: reading one, which would stall a GPU, raises.
    image = images.to(device).contiguous(memory_format=layout)
    eight = torch.full((4,), 8, device=device)
    sizes = torch.full((4, 2), 80, device=device)
    for out in (
        pixelate(image, eight, sizes),
        defocus(image, eight + 1, eight.float(), sizes),
        motion_blur(image, eight, eight, sizes),
    ):
        assert out.shape == image.shape
        assert out.dtype == torch.uint8
        assert out.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_memory_layout_changes_no_pixel(images, channels) -> None:
    planes = images[:, :channels].contiguous()
    interleaved = planes.contiguous(memory_format=torch.channels_last)
    eight = torch.full((4,), 8)
    for operator in (
        lambda image: pixelate(image, 2 * eight),
        lambda image: defocus(image, eight + 1, eight / 5),
        lambda image: motion_blur(image, eight, 30 * torch.arange(4)),
    ):
        expected = operator(planes)
        assert torch.equal(operator(interleaved), expected)
        every_other = torch.stack([planes, planes], dim=4).flatten(3)[..., ::2]
        assert torch.equal(operator(every_other), expected)


def test_an_empty_batch_stays_empty() -> None:
    empty = torch.zeros(0, 3, 32, 16, dtype=torch.uint8)
    none = torch.zeros(0, dtype=torch.int64)
    assert len(pixelate(empty, none)) == len(defocus(empty, none, none)) == len(motion_blur(empty, none, none)) == 0


def test_pixelation_is_pil_s_bicubic_then_bilinear(images) -> None:
    short_sides = [16, 23, 41, 55]
    out = pixelate(images, torch.tensor(short_sides))
    expected = torch.stack([_pil_pixelate(image, side) for image, side in zip(images, short_sides, strict=True)])
    assert _difference(out, expected) <= 1


def test_pixelation_of_a_canvas_shrinks_to_the_size_of_the_shrunk_stored_image(images) -> None:
    # 20 px of a 400 × 100 image: 80 × 20. A 96 × 56 canvas shrinks to the same.
    out = pixelate(images[:1], torch.tensor([20]), torch.tensor([[400, 100]]))
    pil = Image.fromarray(images[0].permute(1, 2, 0).numpy()).resize((20, 80), Image.Resampling.BICUBIC)
    expected = torch.from_numpy(np.array(pil.resize((56, 96), Image.Resampling.BILINEAR))).permute(2, 0, 1)
    assert _difference(out[0], expected) <= 1


def test_pixelation_above_the_canvas_changes_nothing(images) -> None:
    assert torch.equal(pixelate(images, torch.tensor([56, 57, 63, 500])), images)


def test_defocus_is_the_sampled_gaussian(images) -> None:
    sizes, sigmas = [5, 7, 13, 21], [0.1, 2.0, 0.7, 1.9]
    out = defocus(images, torch.tensor(sizes), torch.tensor(sigmas))
    for i, (size, sigma) in enumerate(zip(sizes, sigmas, strict=True)):
        assert _difference(out[i], _correlate(images[i], _gaussian_kernel(size, sigma))) <= 1


@pytest.mark.parametrize("angles", [(0, 45, 90, 135), (1, 30, 100, 179)])
@pytest.mark.parametrize("lengths", [(8, 9, 14, 19), (18, 11, 2, 8)])
def test_motion_is_the_rotated_line(images, lengths, angles) -> None:
    out = motion_blur(images, torch.tensor(lengths), torch.tensor(angles))
    for i, (length, angle) in enumerate(zip(lengths, angles, strict=True)):
        assert _difference(out[i], _correlate(images[i], _line_kernel(length, angle))) <= 1


def test_a_horizontal_line_of_two_averages_a_pixel_with_its_left_neighbour() -> None:
    image = torch.tensor([[0, 100, 20], [10, 30, 250]], dtype=torch.uint8).expand(1, 1, 2, 3)
    # Row (2 − 1) // 2 = 0 of a 2 × 2 kernel with anchor 1: the line lies one row above, and rows are reflected.
    out = motion_blur(image, torch.tensor([2]), torch.tensor([0]))
    assert out[0, 0].tolist() == [[20, 20, 140], [50, 50, 60]]


def test_blurs_of_an_unscaled_canvas_are_those_of_the_stored_image(images) -> None:
    stored = torch.tensor([SIZE]).expand(4, 2)
    kernels, sigmas = torch.tensor([5, 9, 15, 21]), torch.tensor([0.5, 1.0, 1.5, 2.0])
    assert torch.equal(defocus(images, kernels, sigmas, stored), defocus(images, kernels, sigmas))
    lengths, angles = torch.tensor([8, 11, 16, 19]), torch.tensor([0, 33, 90, 170])
    assert torch.equal(motion_blur(images, lengths, angles, stored), motion_blur(images, lengths, angles))


def test_a_scaled_kernel_keeps_its_sum_and_scales_its_offsets() -> None:
    sigma, scale = torch.tensor([2.0, 2.0]), torch.tensor([0.5, 2.0])
    taps = gaussian_taps(torch.tensor([21, 21]), sigma, scale, 21, 20)
    at = torch.arange(-20, 21.0)
    torch.testing.assert_close(taps.sum(1), torch.ones(2))
    # Between two pixels, a tap's share adds f · (1 − f) to the variance: ¼ for every second tap at scale ½.
    torch.testing.assert_close((taps * at**2).sum(1), torch.tensor([1.0 + 0.125, 16.0]), rtol=1e-3, atol=0)
    line = motion_kernel(torch.tensor([9]), torch.tensor([0]), torch.tensor([[1.0, 2.0]]), 19, (18, 18))
    assert line[0].nonzero().tolist() == [[18, 18 + 2 * offset] for offset in range(-4, 5)]


def test_blurring_an_enlarged_canvas_equals_enlarging_the_blurred_image() -> None:
    small = torch.randint(0, 256, (1, 1, 40, 40), generator=torch.Generator().manual_seed(0)).double()
    blurred = torch.nn.functional.conv2d(small, torch.full((1, 1, 1, 9), 1 / 9, dtype=torch.float64), padding="same")
    canvas, expected = (
        torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear").round().to(torch.uint8)
        for x in (small, blurred)
    )
    out = motion_blur(canvas, torch.tensor([9]), torch.tensor([0]), torch.tensor([[40, 40]]))
    assert _difference(out[..., 20:60], expected[..., 20:60]) <= 1


def test_kernels_wider_than_the_image_read_no_further_than_reflection_reaches() -> None:
    image = torch.randint(0, 256, (1, 3, 6, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for stored in (None, torch.tensor([[3, 2]])):
        blurred = defocus(image, torch.tensor([21]), torch.tensor([2.0]), stored)
        moved = motion_blur(image, torch.tensor([19]), torch.tensor([30]), stored)
        for out in (blurred, moved):
            assert out.float().std() < image.float().std()
    assert torch.equal(defocus(image[..., :1, :1], torch.tensor([21]), torch.tensor([2.0])), image[..., :1, :1])


def test_both_back_ends_give_the_same(images) -> None:
    size = torch.tensor([[27, 16], [96, 20], [40, 56], [91, 53]])
    assert _difference(looped.shrink_and_enlarge(images, size), batched.shrink_and_enlarge(images, size)) <= 1
    scale = torch.tensor([[1.0, 1.0], [0.4, 0.7], [2.0, 1.3], [1.7, 0.2]])
    kernels, sigmas = torch.tensor([5, 13, 21, 9]), torch.tensor([0.1, 2.0, 1.4, 0.6])
    taps = [gaussian_taps(kernels, sigmas, scale[:, axis], 21, 20) for axis in (0, 1)]
    assert _difference(looped.filter_separable(images, *taps), batched.filter_separable(images, *taps)) <= 1
    kernel = motion_kernel(torch.tensor([8, 19, 14, 11]), torch.tensor([0, 77, 135, 179]), scale, 19, (18, 18))
    assert _difference(looped.filter_dense(images, kernel), batched.filter_dense(images, kernel)) <= 1
