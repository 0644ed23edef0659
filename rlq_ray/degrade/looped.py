"""The back end for CPUs: one image at a time, since one stays in the cache and a batch does not.

Same contract as `batched`: uint8 in and out, a kernel for every image. Reads the kernels' values, hence not for GPUs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

# Less than a tenth of a grey level even if all the 361 taps of a motion kernel were so small.
NEGLIGIBLE = 1e-6

Pixels = NDArray[np.uint8]
Numbers = NDArray[np.float32]


def shrink_and_enlarge(image_BCHW: Tensor, size_B2: Tensor) -> Tensor:
    """Bring each image to its own (height, width), antialiased bicubic in 8 bits, and back, bilinear in 8 bits."""
    full = image_BCHW.shape[2:]
    out_BCHW = torch.empty_like(image_BCHW)
    for i, (height, width) in enumerate(size_B2.tolist()):
        # The vectorised 8-bit resampling of torch exists for this layout.
        image_1CHW = image_BCHW[i : i + 1].contiguous(memory_format=torch.channels_last)
        small = F.interpolate(image_1CHW, size=(height, width), mode="bicubic", antialias=True)
        out_BCHW[i : i + 1] = F.interpolate(small, size=full, mode="bilinear", antialias=True)
    return out_BCHW


def filter_separable(image_BCHW: Tensor, taps_y_BK: Tensor, taps_x_BK: Tensor) -> Tensor:
    """Correlate each image with its own taps along x, then y; borders are reflected without repeating the edge."""
    return _correlate(_add_along_x_then_y, image_BCHW, taps_y_BK, taps_x_BK)


def filter_dense(image_BCHW: Tensor, kernel_BKK: Tensor) -> Tensor:
    """Correlate each image with its own kernel; borders are reflected without repeating the edge."""
    return _correlate(_add_shifted, image_BCHW, kernel_BKK)


def _correlate(add: Callable[..., None], image_BCHW: Tensor, *kernels: Tensor) -> Tensor:
    """Run a compiled loop over the lines L of the images' planes P, in which a pixel's neighbour is `step` further.

    Compiled, since a line's sum then stays in the innermost cache while the taps are added to it, and only taps that
    count are: OpenCV's dense filter takes 3 to 4 times as long.
    """
    batch, channels, height, width = image_BCHW.shape
    interleaved = image_BCHW.is_contiguous(memory_format=torch.channels_last)
    image_BCHW = image_BCHW.contiguous(memory_format=torch.channels_last if interleaved else torch.contiguous_format)
    out_BCHW = torch.empty_like(image_BCHW)
    planes, step = (1, channels) if interleaved else (channels, 1)
    image_BPHL, out_BPHL = (
        (tensor.permute(0, 2, 3, 1) if interleaved else tensor).view(batch, planes, height, width * step).numpy()
        for tensor in (image_BCHW, out_BCHW)
    )
    add(image_BPHL, step, *(kernel.float().contiguous().numpy() for kernel in kernels), out_BPHL)
    return out_BCHW


@njit(cache=True, nogil=True)
def _reflect(at: int, size: int) -> int:
    if at < 0:
        return -at
    return at if at < size else 2 * size - 2 - at


@njit(cache=True, nogil=True)
def _widen(line_L: Pixels, step: int, radius: int, out: Numbers) -> None:
    """Turn a line into numbers, with `radius` reflected pixels on either side."""
    length = len(line_L)
    pixels, margin = length // step, radius * step
    for x in range(length):
        out[margin + x] = line_L[x]
    for x in range(radius):
        for channel in range(step):
            out[x * step + channel] = line_L[_reflect(x - radius, pixels) * step + channel]
            out[margin + length + x * step + channel] = line_L[_reflect(pixels + x, pixels) * step + channel]


# OpenCV and torchvision round halves to even, too.
@njit(cache=True, nogil=True)
def _store(sum_L: Numbers, out_L: Pixels) -> None:
    for x in range(len(sum_L)):
        out_L[x] = np.uint8(min(np.rint(sum_L[x]), np.float32(255)))


@njit(cache=True, nogil=True, fastmath={"contract"})
def _add_scaled(line: Numbers, weight: np.float32, sum_L: Numbers) -> None:
    for x in range(len(sum_L)):
        sum_L[x] += weight * line[x]


@njit(cache=True, nogil=True)
def _add_shifted(image_BPHL: Pixels, step: int, kernel_BKK: Numbers, out_BPHL: Pixels) -> None:
    batch, planes, height, length = image_BPHL.shape
    radius_y, radius_x = kernel_BKK.shape[1] // 2, kernel_BKK.shape[2] // 2
    wide = np.empty((height, length + 2 * radius_x * step), np.float32)
    sum_L = np.empty(length, np.float32)
    for i in range(batch):
        for plane in range(planes):
            for y in range(height):
                _widen(image_BPHL[i, plane, y], step, radius_x, wide[y])
            for y in range(height):
                sum_L[:] = 0
                for k in range(2 * radius_y + 1):
                    for j in range(2 * radius_x + 1):
                        weight = kernel_BKK[i, k, j]
                        if weight > NEGLIGIBLE:
                            line = wide[_reflect(y + k - radius_y, height)]
                            _add_scaled(line[j * step : j * step + length], weight, sum_L)
                _store(sum_L, out_BPHL[i, plane, y])


@njit(cache=True, nogil=True)
def _add_along_x_then_y(
    image_BPHL: Pixels, step: int, taps_y_BK: Numbers, taps_x_BK: Numbers, out_BPHL: Pixels
) -> None:
    batch, planes, height, length = image_BPHL.shape
    radius_y, radius_x = taps_y_BK.shape[1] // 2, taps_x_BK.shape[1] // 2
    wide = np.empty(length + 2 * radius_x * step, np.float32)
    along_x_HL = np.empty((height, length), np.float32)
    sum_L = np.empty(length, np.float32)
    for i in range(batch):
        for plane in range(planes):
            for y in range(height):
                _widen(image_BPHL[i, plane, y], step, radius_x, wide)
                along_x_HL[y] = 0
                for j in range(2 * radius_x + 1):
                    if taps_x_BK[i, j] > NEGLIGIBLE:
                        _add_scaled(wide[j * step : j * step + length], taps_x_BK[i, j], along_x_HL[y])
            for y in range(height):
                sum_L[:] = 0
                for k in range(2 * radius_y + 1):
                    if taps_y_BK[i, k] > NEGLIGIBLE:
                        _add_scaled(along_x_HL[_reflect(y + k - radius_y, height)], taps_y_BK[i, k], sum_L)
                _store(sum_L, out_BPHL[i, plane, y])
