"""Each change against PIL, a value by hand or a slow formula, and the forms for CPU and GPU against each other."""

import numpy as np
import pytest
import torch
from PIL import Image

from rlq_ray.augment import functional as F

LAYOUTS = [torch.channels_last, torch.contiguous_format]


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randint(0, 256, (6, 3, 64, 40), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def _pil_resize(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    pil = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    return torch.from_numpy(np.array(pil.resize((width, height), Image.Resampling.BILINEAR))).permute(2, 0, 1)


def _difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double() - b.double()).abs().max())


@pytest.mark.parametrize("size", [(48, 30), (96, 50), (64, 40)])
def test_resize_is_pil_s(images, size) -> None:
    expected = torch.stack([_pil_resize(image, *size) for image in images])
    assert _difference(F.resize(images, *size), expected) <= 1


def test_crop_and_flip_by_hand() -> None:
    image = torch.arange(12, dtype=torch.uint8).view(1, 1, 3, 4).repeat(2, 1, 1, 1)
    out = F.crop_and_flip(image, torch.tensor([[1, 0], [0, 2]]), torch.tensor([False, True]), 2, 2)
    assert out[:, 0].tolist() == [[[4, 5], [8, 9]], [[3, 2], [7, 6]]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_crop_and_flip_is_the_same_in_both_forms(images, layout) -> None:
    image = images.contiguous(memory_format=layout)
    top_left = torch.tensor([[0, 0], [3, 5], [16, 10], [1, 9], [15, 0], [7, 7]])
    flip = torch.tensor([True, False, True, True, False, False])
    looped = F._crop_and_flip_looped(image, top_left, flip, 48, 30)
    batched = F._crop_and_flip_batched(image, top_left, flip, 48, 30)
    assert torch.equal(looped, batched)
    assert looped.is_contiguous(memory_format=layout)
    assert batched.is_contiguous(memory_format=layout)


def test_an_enlarged_image_is_a_window_of_the_larger_resize(images) -> None:
    enlarge = torch.tensor([True, False, True, False, True, True])
    flip = torch.tensor([False, False, True, True, False, True])
    offset = torch.tensor([[0.0, 0.0], [0.9, 0.9], [1.0, 1.0], [0.5, 0.5], [0.5, 0.25], [0.0, 1.0]])
    out = F.enlarge_crop_flip(images, enlarge, offset, flip, 1.125, (48, 32))
    corners = [(0, 0), None, (6, 4), None, (3, 1), (0, 4)]
    for i, corner in enumerate(corners):
        expected = _pil_resize(images[i], 48, 32)
        if corner:
            top, left = corner
            expected = _pil_resize(images[i], 54, 36)[:, top : top + 48, left : left + 32]
        assert _difference(out[i], expected.flip(2) if flip[i] else expected) <= 1


def test_without_enlarging_and_flipping_it_is_a_resize(images) -> None:
    no = torch.zeros(6, dtype=torch.bool)
    offset = torch.rand(6, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(F.enlarge_crop_flip(images, no, offset, no, 1.125, (48, 30)), F.resize(images, 48, 30))
    assert torch.equal(F.enlarge_crop_flip(images, ~no, offset, no, 1.0, (64, 40)), images)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_normalise_is_imagenet_s(images, layout) -> None:
    out = F.normalise(images.contiguous(memory_format=layout))
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (images.permute(0, 2, 3, 1).numpy() / 255 - mean) / std
    torch.testing.assert_close(out, torch.from_numpy(expected).float().permute(0, 3, 1, 2), rtol=0, atol=1e-5)
    assert out.is_contiguous(memory_format=layout)


def test_brightness_multiplies_before_normalising_and_clips_at_white() -> None:
    image = torch.full((2, 3, 1, 1), 200, dtype=torch.uint8)
    out = F.normalise(image, torch.tensor([0.5, 2.0]))
    expected = F.normalise(torch.tensor([100, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1))
    torch.testing.assert_close(out, expected)


def test_the_first_try_that_fits_is_erased() -> None:
    # In 20 × 10: area ½ at aspect 2 is 14 × 7; area ½ at aspect 8 is 28 high; area ½ at aspect ⅛ is 28 wide.
    area = torch.full((4, 3), 0.5)
    aspect = torch.tensor([[2.0, 2.0, 2.0], [8.0, 0.125, 2.0], [8.0, 8.0, 0.125], [2.0, 2.0, 2.0]])
    offset = torch.tensor([[0.0, 0.0], [0.2, 0.8], [0.99, 0.99]]).expand(4, 3, 2)
    erase_B = torch.tensor([True, True, True, False])
    rectangles = F.erase_rectangles(erase_B, area, aspect, offset, (20, 10))
    # Room 20 − 14 + 1 = 7 rows and 10 − 7 + 1 = 4 columns.
    assert rectangles.tolist() == [[0, 0, 14, 7], [6, 3, 14, 7], [0, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_erase_fills_the_rectangle_alone_in_both_forms(layout) -> None:
    image = torch.randn(3, 3, 8, 6, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
    rectangles = torch.tensor([[0, 0, 3, 2], [5, 1, 3, 5], [0, 0, 0, 0]])
    expected = image.clone()
    for channel, value in enumerate((0.4914, 0.4822, 0.4465)):
        expected[0, channel, :3, :2] = value
        expected[1, channel, 5:, 1:] = value
    for form in (F._erase_looped, F._erase_batched):
        out = form(image, rectangles)
        assert torch.equal(out, expected)
        assert out.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reads_no_value_off_the_cpu(images, layout) -> None:
    # A meta tensor has no values: reading one, which would stall a GPU, raises.
    image = images.to("meta").contiguous(memory_format=layout)
    no, offset, tries = (torch.zeros(shape, device="meta") for shape in ((6,), (6, 2), (6, 10)))
    out = F.enlarge_crop_flip(image, no.bool(), offset, no.bool(), 1.125, (48, 30))
    rectangles = F.erase_rectangles(no.bool(), tries, tries, tries[..., None].expand(6, 10, 2), (48, 30))
    out = F.erase(F.normalise(out, no), rectangles)
    assert out.shape == (6, 3, 48, 30)
    assert out.is_contiguous(memory_format=layout)
