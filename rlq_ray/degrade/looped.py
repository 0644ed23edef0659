"""The back end for CPUs: one image at a time, since one stays in the cache and a batch does not.

Same contract as `batched`: uint8 in and out, a kernel for every image. Reads the kernels' values, hence not for GPUs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Less than a tenth of a grey level even if all the 361 taps of a motion kernel were so small.
NEGLIGIBLE = 1e-6


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
    out_BCHW = torch.empty_like(image_BCHW)
    for i in range(len(image_BCHW)):
        blurred = _add_shifted(image_BCHW[i], taps_x_BK[i][None, :])
        _store(out_BCHW, i, _add_shifted(blurred, taps_y_BK[i][:, None]))
    return out_BCHW


def filter_dense(image_BCHW: Tensor, kernel_BKK: Tensor) -> Tensor:
    """Correlate each image with its own kernel; borders are reflected without repeating the edge."""
    out_BCHW = torch.empty_like(image_BCHW)
    for i in range(len(image_BCHW)):
        _store(out_BCHW, i, _add_shifted(image_BCHW[i], kernel_BKK[i]))
    return out_BCHW


def _store(out_BCHW: Tensor, i: int, image_CHW: Tensor) -> None:
    out_BCHW[i] = image_CHW.round_().clamp_(0, 255)


def _add_shifted(image_CHW: Tensor, kernel_KK: Tensor) -> Tensor:
    """Correlate one image, by adding a shifted copy of it for every tap that counts."""
    channels, height, width = image_CHW.shape
    centre_y, centre_x = kernel_KK.shape[0] // 2, kernel_KK.shape[1] // 2
    taps = (kernel_KK > NEGLIGIBLE).nonzero()
    weights = kernel_KK[taps[:, 0], taps[:, 1]].tolist()
    offsets = [(y - centre_y, x - centre_x) for y, x in taps.tolist()]
    radius_y, radius_x = max(abs(y) for y, _ in offsets), max(abs(x) for _, x in offsets)
    padded = F.pad(image_CHW.float().contiguous()[None], (radius_x, radius_x, radius_y, radius_y), mode="reflect")
    # Shifting the padded image as one line of numbers adds some that nobody reads, yet is faster than row by row.
    line = padded.view(-1)
    row, plane = padded.stride(2), padded.stride(1)
    total = torch.zeros(len(line) - 2 * radius_y * row - 2 * radius_x)
    for (y, x), weight in zip(offsets, weights, strict=True):
        start = (radius_y + y) * row + radius_x + x
        total.add_(line[start : start + len(total)], alpha=weight)
    return total.as_strided((channels, height, width), (plane, row, 1))
