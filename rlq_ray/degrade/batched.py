"""The back end for GPUs: the whole batch at once, in static shapes, without reading a value back to the host.

Same contract as `looped`: uint8 in and out, a kernel for every image, embedded in the largest size.
"""

from __future__ import annotations

from kornia.filters import filter2d, filter2d_separable
from torch import Tensor, uint8

from rlq_ray.degrade.kernels import enlarging_matrix, shrinking_matrix


def shrink_and_enlarge(image_BCHW: Tensor, size_B2: Tensor) -> Tensor:
    """Bring each image to its own (height, width), antialiased bicubic in 8 bits, and back, bilinear in 8 bits."""
    height, width = image_BCHW.shape[2:]
    size_y_B, size_x_B = size_B2.unbind(dim=1)
    # As in PIL: x first, and 8 bits after each of the four passes, since a cubic overshoots where 8 bits clip.
    image = _pass_x(image_BCHW.float(), shrinking_matrix(size_x_B, width))
    image = _pass_y(image, shrinking_matrix(size_y_B, height))
    image = _pass_x(image, enlarging_matrix(size_x_B, width))
    return _pass_y(image, enlarging_matrix(size_y_B, height)).to(uint8)


def filter_separable(image_BCHW: Tensor, taps_y_BK: Tensor, taps_x_BK: Tensor) -> Tensor:
    """Correlate each image with its own taps along x, then y; borders are reflected without repeating the edge."""
    return _eight_bits(filter2d_separable(image_BCHW.float(), taps_x_BK, taps_y_BK, border_type="reflect")).to(uint8)


def filter_dense(image_BCHW: Tensor, kernel_BKK: Tensor) -> Tensor:
    """Correlate each image with its own kernel; borders are reflected without repeating the edge."""
    return _eight_bits(filter2d(image_BCHW.float(), kernel_BKK, border_type="reflect")).to(uint8)


def _pass_x(image_BCHW: Tensor, weight_BWW: Tensor) -> Tensor:
    return _halves_up(image_BCHW @ weight_BWW[:, None].transpose(2, 3))


def _pass_y(image_BCHW: Tensor, weight_BHH: Tensor) -> Tensor:
    return _halves_up(weight_BHH[:, None] @ image_BCHW)


def _halves_up(image: Tensor) -> Tensor:
    """Round to 8 bits as PIL does; OpenCV and torchvision round halves to even."""
    return (image + 0.5).floor().clamp(0, 255)


def _eight_bits(image: Tensor) -> Tensor:
    return image.round().clamp(0, 255)
