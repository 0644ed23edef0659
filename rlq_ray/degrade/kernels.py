"""Blur kernels and resampling weights of a batch, one per image, in static shapes on the device of their parameters.

Knows no images. A kernel is described in the pixels of the stored image, then placed on the canvas: the tap at offset
t goes to t · scale, shared linearly between the two nearest canvas pixels of each axis. The canvas image is thus
interpolated linearly wherever the stored image would have been read. At scale 1 this changes nothing; for an image
that was enlarged linearly it equals blurring first and enlarging after.
"""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_taps(kernel_px_B: Tensor, sigma_B: Tensor, scale_B: Tensor, largest_px: int, radius_px: int) -> Tensor:
    """Build one-dimensional Gaussians (B, 2 · radius_px + 1) that sum to 1, sampled at integers of the stored image.

    `scale_B` is canvas/stored along the axis. A tap that would fall beyond `radius_px` canvas pixels is put there.
    """
    half = largest_px // 2
    offset_T = torch.arange(-half, half + 1, device=sigma_B.device, dtype=torch.float32)
    weight_BT = torch.exp(-0.5 * (offset_T / sigma_B.float()[:, None]) ** 2)
    weight_BT = weight_BT * (offset_T.abs() <= torch.div(kernel_px_B, 2, rounding_mode="floor")[:, None])
    weight_BT = weight_BT / weight_BT.sum(dim=1, keepdim=True)
    share_BKT = _share(offset_T * scale_B[:, None], radius_px)
    return (share_BKT @ weight_BT[:, :, None]).squeeze(2)


def motion_kernel(
    length_B: Tensor, angle_B: Tensor, scale_B2: Tensor, largest_px: int, radius_px: tuple[int, int]
) -> Tensor:
    """Build rotated lines (B, 2 · radius_y + 1, 2 · radius_x + 1) that sum to 1.

    In an s × s kernel a line fills row (s − 1) // 2. It is rotated counter-clockwise by `angle_B` degrees about
    (s/2 − ½, s/2 − ½), read bilinearly with zeros around. The anchor is the tap s // 2, as in OpenCV. `scale_B2` is
    canvas/stored (y, x). A tap that would fall beyond `radius_px` canvas pixels is put there.
    """
    tap_T = torch.arange(largest_px, device=length_B.device, dtype=torch.float32)
    s_B11 = length_B.float()[:, None, None]
    angle_B11 = torch.deg2rad(angle_B.float())[:, None, None]
    centre_B11 = s_B11 / 2 - 0.5
    y_BT1, x_B1T = tap_T[:, None] - centre_B11, tap_T[None, :] - centre_B11
    # The line at 0° is exact only if sin(0°) is: it is, and cos(90°) errs by 4e-8.
    line_x_BTT = angle_B11.cos() * x_B1T - angle_B11.sin() * y_BT1 + centre_B11
    line_y_BTT = angle_B11.sin() * x_B1T + angle_B11.cos() * y_BT1 + centre_B11
    across_BTT = (1 - (line_y_BTT - torch.floor((s_B11 - 1) / 2)).abs()).clamp(min=0)
    along_BTT = torch.minimum(line_x_BTT + 1, s_B11 - line_x_BTT).clamp(min=0, max=1)
    inside_BTT = (tap_T[:, None] < s_B11) & (tap_T[None, :] < s_B11)
    kernel_BTT = across_BTT * along_BTT * inside_BTT
    kernel_BTT = kernel_BTT / kernel_BTT.sum(dim=(1, 2), keepdim=True)
    offset_BT = tap_T - torch.floor(length_B.float() / 2)[:, None]
    share_y_BKT = _share(offset_BT * scale_B2[:, :1], radius_px[0])
    share_x_BKT = _share(offset_BT * scale_B2[:, 1:], radius_px[1])
    return share_y_BKT @ kernel_BTT @ share_x_BKT.transpose(1, 2)


def _share(position_BT: Tensor, radius_px: int) -> Tensor:
    """Weights (B, 2 · radius_px + 1, T) with which a tap at a real position is shared between whole pixels."""
    pixel_K1 = torch.arange(-radius_px, radius_px + 1, device=position_BT.device, dtype=torch.float32)[:, None]
    return (1 - (pixel_K1 - position_BT.clamp(-radius_px, radius_px)[:, None, :]).abs()).clamp(min=0)


def bicubic(x: Tensor) -> Tensor:
    """Evaluate Keys' cubic with a = −½, as PIL has it."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def bilinear(x: Tensor) -> Tensor:
    """Evaluate the triangle of half width 1."""
    return (1 - x.abs()).clamp(min=0)


def shrinking_matrix(size_B: Tensor, full: int) -> Tensor:
    """Weights (B, full, full) that bring `full` pixels to the first `size_B`; the other rows are 0 (antialiased)."""
    scale_B11 = (full / size_B.double())[:, None, None]
    at = torch.arange(full, device=size_B.device, dtype=torch.float64)
    distance = (at + 0.5)[None, None, :] - (at + 0.5)[None, :, None] * scale_B11
    weight = bicubic(distance / scale_B11) * (at[:, None] < size_B[:, None, None])
    return _fixed_point(weight / weight.sum(dim=2, keepdim=True).clamp(min=1e-6))


def enlarging_matrix(size_B: Tensor, full: int) -> Tensor:
    """Weights (B, full, full) that bring the first `size_B` pixels to `full`; the other columns are 0."""
    scale_B11 = (size_B.double() / full)[:, None, None]
    at = torch.arange(full, device=size_B.device, dtype=torch.float64)
    distance = (at + 0.5)[None, None, :] - (at + 0.5)[None, :, None] * scale_B11
    weight = bilinear(distance) * (at < size_B[:, None, None])
    return _fixed_point(weight / weight.sum(dim=2, keepdim=True))


def _fixed_point(weight: Tensor) -> Tensor:
    """Round to the 22 binary places that PIL keeps, in float32.

    At whole ratios a smooth image is full of values halfway between two grey levels, and these weights decide where
    they go. Four passes of other decisions are up to 4 grey levels off.
    """
    return ((weight * 2**22).round() / 2**22).float()
