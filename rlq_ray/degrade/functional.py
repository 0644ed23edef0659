"""Degrade a batch of uint8 images, each with parameters of its own (Pathak & Rawat, BMVC 2025, section 3).

Pure: draws nothing. Images are uint8 (B, C, H, W), in and out, since the operators of the paper's code round to
8 bits. Sizes count the pixels of the stored image where `original_size_B2` gives its (height, width), else those of
the image passed. CPUs go through `looped`, other devices through `batched`; both give the same within rounding.

The furthest a blur reaches is known without reading a tensor: half of `largest_px`, times `largest_enlargement` where
stored sizes are given, and never beyond the last pixel that reflection reaches (H − 1, W − 1). An image that was
enlarged more than `largest_enlargement` times along an axis is blurred as if by so much.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

from rlq_ray.degrade import batched, looped
from rlq_ray.degrade.kernels import gaussian_taps, motion_kernel

LARGEST_GAUSSIAN_PX = 21
LARGEST_MOTION_PX = 19
LARGEST_ENLARGEMENT = 3.0  # a crop of 128 × 64 on the published canvas


def pixelate(image_BCHW: Tensor, short_side_B: Tensor, original_size_B2: Tensor | None = None) -> Tensor:
    """Shrink each image until its short side has `short_side_B` pixels (bicubic), then enlarge it back (bilinear).

    The long side becomes int(short_side · long/short), of the stored image where given. An axis that would not shrink
    on the canvas is left as it is: the canvas already shows no more than the pixelated image would.

    Raises:
        ValueError: the image is not uint8 (B, C, H, W), or a parameter has another batch size.
    """
    _check(image_BCHW, short_side_B, original_size_B2)
    canvas_2 = _canvas_size(image_BCHW)
    size_B2 = canvas_2.expand(len(image_BCHW), 2) if original_size_B2 is None else original_size_B2.long()
    short_B1 = size_B2.amin(dim=1, keepdim=True)
    shrunk_B2 = torch.div(short_side_B.long()[:, None] * size_B2, short_B1, rounding_mode="floor").clamp(min=1)
    return _run(_back_end(image_BCHW).shrink_and_enlarge, image_BCHW, torch.minimum(shrunk_B2, canvas_2))


def defocus(
    image_BCHW: Tensor,
    kernel_px_B: Tensor,
    sigma_B: Tensor,
    original_size_B2: Tensor | None = None,
    *,
    largest_px: int = LARGEST_GAUSSIAN_PX,
    largest_enlargement: float = LARGEST_ENLARGEMENT,
) -> Tensor:
    """Blur each image with its own Gaussian, cut to `kernel_px_B` (odd) pixels.

    Raises:
        ValueError: the image is not uint8 (B, C, H, W), a parameter has another batch size, or (CPU only) a kernel
            exceeds `largest_px`.
    """
    _check(image_BCHW, kernel_px_B, sigma_B, original_size_B2)
    _check_largest(kernel_px_B, largest_px)
    scale_B2 = _scale(image_BCHW, original_size_B2, largest_enlargement)
    radius_y, radius_x = _radius(image_BCHW, largest_px, 1.0 if original_size_B2 is None else largest_enlargement)
    taps_y_BK = gaussian_taps(kernel_px_B, sigma_B, scale_B2[:, 0], largest_px, radius_y)
    taps_x_BK = gaussian_taps(kernel_px_B, sigma_B, scale_B2[:, 1], largest_px, radius_x)
    return _run(_back_end(image_BCHW).filter_separable, image_BCHW, taps_y_BK, taps_x_BK)


def motion_blur(
    image_BCHW: Tensor,
    length_B: Tensor,
    angle_B: Tensor,
    original_size_B2: Tensor | None = None,
    *,
    largest_px: int = LARGEST_MOTION_PX,
    largest_enlargement: float = LARGEST_ENLARGEMENT,
) -> Tensor:
    """Blur each image along its own line of `length_B` pixels, `angle_B` degrees counter-clockwise from horizontal.

    Raises:
        ValueError: the image is not uint8 (B, C, H, W), a parameter has another batch size, or (CPU only) a line
            exceeds `largest_px`.
    """
    _check(image_BCHW, length_B, angle_B, original_size_B2)
    _check_largest(length_B, largest_px)
    scale_B2 = _scale(image_BCHW, original_size_B2, largest_enlargement)
    radius_y, radius_x = _radius(image_BCHW, largest_px, 1.0 if original_size_B2 is None else largest_enlargement)
    kernel_BKK = motion_kernel(length_B, angle_B, scale_B2, largest_px, (radius_y, radius_x))
    return _run(_back_end(image_BCHW).filter_dense, image_BCHW, kernel_BKK)


def _back_end(image_BCHW: Tensor) -> ModuleType:
    return looped if image_BCHW.device.type == "cpu" else batched


def _run(operator: Callable[..., Tensor], image_BCHW: Tensor, *kernels: Tensor) -> Tensor:
    """Apply a back end's operator in full precision, keeping the image's memory layout."""
    if not len(image_BCHW):
        return image_BCHW.clone()
    device = image_BCHW.device.type
    with torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext():
        out_BCHW = operator(image_BCHW, *kernels)
    interleaved = image_BCHW.is_contiguous(memory_format=torch.channels_last) and not image_BCHW.is_contiguous()
    return out_BCHW.contiguous(memory_format=torch.channels_last if interleaved else torch.contiguous_format)


@cache
def _size(height: int, width: int, device: torch.device) -> Tensor:
    # A tensor made of Python numbers stalls a GPU, so there is one for each canvas.
    return torch.tensor([[height, width]], device=device)


def _canvas_size(image_BCHW: Tensor) -> Tensor:
    return _size(image_BCHW.shape[2], image_BCHW.shape[3], image_BCHW.device)


def _scale(image_BCHW: Tensor, original_size_B2: Tensor | None, largest: float) -> Tensor:
    """Canvas pixels per stored pixel, (B, 2) = (y, x)."""
    if original_size_B2 is None:
        return torch.ones(len(image_BCHW), 2, device=image_BCHW.device)
    return (_canvas_size(image_BCHW) / original_size_B2).clamp(max=largest)


def _radius(image_BCHW: Tensor, largest_px: int, largest_scale: float) -> tuple[int, int]:
    """Canvas pixels (y, x) that the largest kernel reaches; reflection ends at the last pixel."""
    height, width = image_BCHW.shape[2:]
    reach = math.ceil(largest_px // 2 * largest_scale)
    return min(reach, height - 1), min(reach, width - 1)


def _check(image_BCHW: Tensor, *parameters: Tensor | None) -> None:
    if image_BCHW.dtype != torch.uint8 or image_BCHW.dim() != 4:
        raise ValueError(
            f"image is {image_BCHW.dtype} {tuple(image_BCHW.shape)}: pass a uint8 image (B, C, H, W) in 0…255"
        )
    for parameter in parameters:
        if parameter is not None and len(parameter) != len(image_BCHW):
            raise ValueError(f"{len(image_BCHW)} images but {len(parameter)} parameters: pass one for every image")


def _check_largest(size_px_B: Tensor, largest_px: int) -> None:
    # On a GPU the comparison would wait for the device; there the sizes come from a checked configuration.
    if size_px_B.device.type == "cpu" and (size_px_B > largest_px).any():
        raise ValueError(f"a kernel has {int(size_px_B.max())} px but largest_px is {largest_px}: raise largest_px")
