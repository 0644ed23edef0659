"""The libraries that the published code degrades with, one image at a time, and images to degrade."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from rlq_ray.degrade import GAUSSIAN, PIXELATION, DegradeDraw


class Published:
    """The degradations of the paper's code on one image (C, H, W) of uint8."""

    def pixelate(self, image_CHW: Tensor, short_side: int) -> Tensor:
        """Shrink as the paper's code does; enlarging to the canvas is `onto`'s."""
        height, width = image_CHW.shape[1:]
        short = min(height, width)
        small = (int(short_side * width / short), int(short_side * height / short))
        # Since version 13 PIL begins with y where an image is taller than two widths; the paper's PIL begins with x.
        narrow = _pil(image_CHW, (small[0], height), Image.Resampling.BICUBIC)
        return _pil(narrow, small, Image.Resampling.BICUBIC)

    def onto(self, image_CHW: Tensor, height: int, width: int) -> Tensor:
        return _pil(image_CHW, (width, height), Image.Resampling.BILINEAR)

    def defocus(self, image_CHW: Tensor, kernel_px: int, sigma: float) -> Tensor:
        return gaussian_blur(image_CHW, [kernel_px, kernel_px], [sigma, sigma])

    def motion_blur(self, image_CHW: Tensor, length: int, angle_deg: int) -> Tensor:
        # OpenCV 4 rotates in steps of 1/32 px; against it a full-contrast chessboard is up to 3 grey levels off.
        kernel = np.zeros((length, length), np.float32)
        kernel[(length - 1) // 2] = 1
        about_the_centre = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), angle_deg, 1.0)
        kernel = cv2.warpAffine(kernel, about_the_centre, (length, length))
        image_HWC = np.ascontiguousarray(image_CHW.permute(1, 2, 0).numpy())
        out_HWC = cv2.filter2D(image_HWC, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)
        return torch.from_numpy(out_HWC).permute(2, 0, 1)

    def degrade(self, image_CHW: Tensor, drawn: DegradeDraw, i: int) -> Tensor:
        """Give an image what was drawn for number i; a pixelated one comes back small."""
        if drawn.kind_B[i] == PIXELATION:
            return self.pixelate(image_CHW, int(drawn.short_side_B[i]))
        if drawn.kind_B[i] == GAUSSIAN:
            return self.defocus(image_CHW, int(drawn.kernel_px_B[i]), float(drawn.sigma_B[i]))
        return self.motion_blur(image_CHW, int(drawn.length_B[i]), int(drawn.angle_B[i]))


def _pil(image_CHW: Tensor, size: tuple[int, int], resample: Image.Resampling) -> Tensor:
    image = Image.fromarray(image_CHW.permute(1, 2, 0).numpy()).resize(size, resample)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture(scope="session")
def natural() -> Callable[..., Tensor]:
    """Make an image whose amplitudes fall off as 1/frequency, as in photographs, with hard outlines in front."""

    def make(height: int, width: int, seed: int) -> Tensor:
        rng = np.random.default_rng(seed)
        frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
        frequency[0, 0] = np.inf
        noise = np.fft.rfft2(rng.normal(size=(3, height, width))) / frequency
        image = np.fft.irfft2(noise, s=(height, width))
        image = 128 + 50 * (image - image.mean()) / image.std()
        for _ in range(4):
            top, left = rng.integers(height * 3 // 4), rng.integers(width * 3 // 4)
            image[:, top : top + height // 4, left : left + width // 4] += rng.uniform(-90, 90, size=(3, 1, 1))
        return torch.from_numpy(image.round().clip(0, 255).astype(np.uint8))

    return make
