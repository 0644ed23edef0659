"""Change the images of a batch, each in its own way. Pure: draws nothing.

Images are uint8 (B, C, H, W) until `normalise`, float32 after it. Where a CPU is faster with a loop over images and
other devices must not read values back to the host, the device of the images chooses; both give the same within
rounding. Memory layout (channels last or first) is kept.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
ERASE_FILL = (0.4914, 0.4822, 0.4465)


def resize(image_BCHW: Tensor, height: int, width: int) -> Tensor:
    """Resize bilinearly, antialiased, rounded to 8 bits as PIL does."""
    if image_BCHW.shape[2:] == (height, width):
        return image_BCHW
    if image_BCHW.device.type == "cpu":
        return F.interpolate(image_BCHW, size=(height, width), mode="bilinear", antialias=True)
    # Only CPUs have the 8-bit kernel.
    resized = F.interpolate(image_BCHW.float(), size=(height, width), mode="bilinear", antialias=True)
    return resized.round().to(torch.uint8)


def crop_and_flip(image_BCHW: Tensor, top_left_B2: Tensor, flip_B: Tensor, height: int, width: int) -> Tensor:
    """Cut a window (height, width) at its own corner from each image, and mirror it where asked."""
    if image_BCHW.device.type == "cpu":
        return _crop_and_flip_looped(image_BCHW, top_left_B2, flip_B, height, width)
    return _crop_and_flip_batched(image_BCHW, top_left_B2, flip_B, height, width)


def _crop_and_flip_looped(image_BCHW: Tensor, top_left_B2: Tensor, flip_B: Tensor, height: int, width: int) -> Tensor:
    out = torch.empty((*image_BCHW.shape[:2], height, width), dtype=image_BCHW.dtype, memory_format=_layout(image_BCHW))
    for i, ((top, left), flip) in enumerate(zip(top_left_B2.tolist(), flip_B.tolist(), strict=True)):
        window = image_BCHW[i, :, top : top + height, left : left + width]
        out[i] = window.flip(2) if flip else window
    return out


def _crop_and_flip_batched(image_BCHW: Tensor, top_left_B2: Tensor, flip_B: Tensor, height: int, width: int) -> Tensor:
    device = image_BCHW.device
    row_Bh = top_left_B2[:, :1] + torch.arange(height, device=device)
    column_w = torch.arange(width, device=device)
    column_Bw = top_left_B2[:, 1:] + torch.where(flip_B[:, None], width - 1 - column_w, column_w)
    image_B = torch.arange(len(image_BCHW), device=device)[:, None, None]
    window_BhwC = image_BCHW.permute(0, 2, 3, 1)[image_B, row_Bh[:, :, None], column_Bw[:, None, :]]
    return window_BhwC.permute(0, 3, 1, 2).contiguous(memory_format=_layout(image_BCHW))


def enlarge_crop_flip(
    image_BCHW: Tensor,
    enlarge_B: Tensor,
    offset_B2: Tensor,
    flip_B: Tensor,
    factor: float,
    size: tuple[int, int],
) -> Tensor:
    """Bring images to `size`, some of them as a window of that size in an image `factor` times as large; then mirror.

    One resampling instead of the published two (to `size`, then enlarged): the same view, slightly sharper.
    `offset_B2` in [0, 1] places the window: (y, x) shares of the room.
    """
    height, width = size
    large = (round(height * factor), round(width * factor))
    room_B2 = torch.stack([offset_B2[:, 0] * (large[0] - height), offset_B2[:, 1] * (large[1] - width)], dim=1)
    top_left_B2 = room_B2.round().long()
    if image_BCHW.device.type == "cpu":
        out = torch.empty(
            (*image_BCHW.shape[:2], height, width), dtype=image_BCHW.dtype, memory_format=_layout(image_BCHW)
        )
        for chosen_B, at in ((enlarge_B, large), (~enlarge_B, size)):
            index_N = chosen_B.nonzero().squeeze(1)
            corner_N2 = top_left_B2[index_N] * (at != size)
            out[index_N] = crop_and_flip(resize(image_BCHW[index_N], *at), corner_N2, flip_B[index_N], height, width)
        return out
    enlarged = crop_and_flip(resize(image_BCHW, *large), top_left_B2, flip_B, height, width)
    plain = crop_and_flip(resize(image_BCHW, *size), torch.zeros_like(top_left_B2), flip_B, height, width)
    return torch.where(enlarge_B[:, None, None, None], enlarged, plain)


def normalise(image_BCHW: Tensor, brightness_B: Tensor | None = None) -> Tensor:
    """Turn 8 bits into float32 with ImageNet's mean 0 and deviation 1, after a brightness factor clipped at white."""
    scale, shift = _normalisation(tuple(image_BCHW.shape[1:]), _layout(image_BCHW), image_BCHW.device)
    image = image_BCHW.float()
    if brightness_B is not None:
        image = (image * brightness_B[:, None, None, None]).clamp_(max=255)
    return image.mul_(scale).add_(shift)


@cache
def _normalisation(
    shape: tuple[int, int, int], layout: torch.memory_format, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Factor and summand of a whole image: over three numbers, interleaved channels would not be vectorised."""
    std = torch.tensor(IMAGENET_STD)
    scale, shift = 1 / (255 * std), -torch.tensor(IMAGENET_MEAN) / std
    scale_1CHW, shift_1CHW = (x[None, :, None, None].expand(1, *shape) for x in (scale, shift))
    return (
        scale_1CHW.contiguous(memory_format=layout).to(device),
        shift_1CHW.contiguous(memory_format=layout).to(device),
    )


def erase_rectangles(
    erase_B: Tensor, area_BT: Tensor, aspect_BT: Tensor, offset_BT2: Tensor, size: tuple[int, int]
) -> Tensor:
    """Choose the first try that fits into an image of `size`: (B, 4) = top, left, height, width in pixels, int64.

    Height and width are 0 where nothing is to be erased or no try fits (Zhong et al., Random Erasing, AAAI 2020).
    """
    height, width = size
    high_BT = torch.sqrt(area_BT * height * width * aspect_BT).round()
    wide_BT = torch.sqrt(area_BT * height * width / aspect_BT).round()
    fits_BT = (high_BT < height) & (wide_BT < width)
    top_BT = (offset_BT2[..., 0] * (height - high_BT + 1)).floor()
    left_BT = (offset_BT2[..., 1] * (width - wide_BT + 1)).floor()
    tries_BT4 = torch.stack([top_BT, left_BT, high_BT, wide_BT], dim=2)
    first_B1 = fits_BT.to(torch.uint8).argmax(dim=1, keepdim=True)
    rectangle_B4 = tries_BT4.gather(1, first_B1[:, :, None].expand(-1, 1, 4)).squeeze(1).long()
    return rectangle_B4 * (erase_B & fits_BT.any(dim=1))[:, None]


def erase(image_BCHW: Tensor, rectangle_B4: Tensor) -> Tensor:
    """Fill each normalised image's rectangle (top, left, height, width) with the published colour."""
    if image_BCHW.device.type == "cpu":
        return _erase_looped(image_BCHW, rectangle_B4)
    return _erase_batched(image_BCHW, rectangle_B4)


def _erase_looped(image_BCHW: Tensor, rectangle_B4: Tensor) -> Tensor:
    image_BCHW = image_BCHW.clone()
    fill_C11 = _fill(image_BCHW.device)
    for i, (top, left, height, width) in enumerate(rectangle_B4.tolist()):
        image_BCHW[i, :, top : top + height, left : left + width] = fill_C11
    return image_BCHW


def _erase_batched(image_BCHW: Tensor, rectangle_B4: Tensor) -> Tensor:
    top, left, height, width = rectangle_B4[:, :, None].unbind(dim=1)
    row_1H = torch.arange(image_BCHW.shape[2], device=image_BCHW.device)[None]
    column_1W = torch.arange(image_BCHW.shape[3], device=image_BCHW.device)[None]
    row_BH = (row_1H >= top) & (row_1H < top + height)
    column_BW = (column_1W >= left) & (column_1W < left + width)
    erased_B1HW = (row_BH[:, :, None] & column_BW[:, None, :])[:, None]
    return torch.where(erased_B1HW, _fill(image_BCHW.device), image_BCHW)


@cache
def _fill(device: torch.device) -> Tensor:
    # A tensor made of Python numbers stalls a GPU, so there is one per device.
    return torch.tensor(ERASE_FILL, device=device)[:, None, None]


def _layout(image_BCHW: Tensor) -> torch.memory_format:
    interleaved = image_BCHW.is_contiguous(memory_format=torch.channels_last) and not image_BCHW.is_contiguous()
    return torch.channels_last if interleaved else torch.contiguous_format
