"""Give each image of a batch the artefact that was drawn for it, on the device that holds the image.

Draws nothing and reads no files.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlq_ray.config.schema import DegradeConfig
from rlq_ray.degrade.functional import LARGEST_ENLARGEMENT, defocus, motion_blur, pixelate
from rlq_ray.degrade.sampling import GAUSSIAN, MOTION, PIXELATION, DegradeDraw


class Degrader:
    """Apply a draw to images.

    With `config.pixels == "original"` the drawn sizes count the pixels of the stored image (h, w), of which the canvas
    (H, W) is a resized copy. Pixelation then shrinks the canvas to the size to which it would have shrunk the stored
    image, and leaves an axis that would not shrink. A blur's kernel is that of the stored image with every tap's
    offset multiplied by H/h down and W/w across and shared linearly between the neighbouring canvas pixels; so
    lengths and sigmas scale by H/h and W/w, and a line turns as the resizing turned it. H/h and W/w count as
    `largest_enlargement` at most. With h = H and w = W, or `config.pixels == "canvas"`, all is exact.

    The published order, to degrade the stored image and resize it after, differs from this by 0.2 to 1.3 grey levels
    on average (384×192 canvas; images of 128×64 to 800×400 with the spectrum of photographs; the artefacts themselves
    change 3 to 24). Images enlarged beyond the limit are blurred too little: at 4 times, a motion blur is 5.7 off.
    """

    def __init__(self, config: DegradeConfig, largest_enlargement: float = LARGEST_ENLARGEMENT) -> None:
        """Prepare for the sizes of `config`.

        Raises:
            ValueError: `largest_enlargement` is less than 1.
        """
        if largest_enlargement < 1:
            raise ValueError(f"largest_enlargement is {largest_enlargement}: take 1 or more")
        self._config = config
        self._largest_enlargement = largest_enlargement

    def __call__(self, image_BCHW: Tensor, draw: DegradeDraw, original_size_B2: Tensor) -> Tensor:
        """Degrade images uint8 (B, C, H, W), keeping their memory layout; `original_size_B2` is (height, width).

        Raises:
            ValueError: the image is not uint8 (B, C, H, W), or draw or sizes are not one per image.
        """
        if not len(image_BCHW) == len(draw) == len(original_size_B2):
            raise ValueError(
                f"{len(image_BCHW)} images, {len(draw)} draws, {len(original_size_B2)} sizes: pass one for every image"
            )
        draw = draw.to(image_BCHW.device)
        size_B2 = None
        if self._config.pixels == "original":
            size_B2 = original_size_B2.to(image_BCHW.device, non_blocking=True)
        degrade = self._each_its_own if image_BCHW.device.type == "cpu" else self._all_of_each
        return degrade(image_BCHW, draw, size_B2)

    def _each_its_own(self, image_BCHW: Tensor, draw: DegradeDraw, size_B2: Tensor | None) -> Tensor:
        out_BCHW = image_BCHW.clone()
        for kind in (PIXELATION, GAUSSIAN, MOTION):
            index_N = (draw.kind_B == kind).nonzero().squeeze(1)
            size_N2 = None if size_B2 is None else size_B2[index_N]
            out_BCHW[index_N] = self._apply(kind, image_BCHW[index_N], draw.take(index_N), size_N2)
        return out_BCHW

    def _all_of_each(self, image_BCHW: Tensor, draw: DegradeDraw, size_B2: Tensor | None) -> Tensor:
        # How many images get which artefact is known to the device alone: asking would stall it, so it does all three.
        out_BCHW = self._apply(PIXELATION, image_BCHW, draw, size_B2)
        for kind in (GAUSSIAN, MOTION):
            chosen_B111 = (draw.kind_B == kind)[:, None, None, None]
            out_BCHW = torch.where(chosen_B111, self._apply(kind, image_BCHW, draw, size_B2), out_BCHW)
        return out_BCHW

    def _apply(self, kind: int, image_BCHW: Tensor, draw: DegradeDraw, size_B2: Tensor | None) -> Tensor:
        if kind == PIXELATION:
            return pixelate(image_BCHW, draw.short_side_B, size_B2)
        if kind == GAUSSIAN:
            largest_px = self._config.gaussian_kernel_px[1]
            return defocus(
                image_BCHW,
                draw.kernel_px_B,
                draw.sigma_B,
                size_B2,
                largest_px=largest_px,
                largest_enlargement=self._largest_enlargement,
            )
        return motion_blur(
            image_BCHW,
            draw.length_B,
            draw.angle_B,
            size_B2,
            largest_px=self._config.motion_px[1],
            largest_enlargement=self._largest_enlargement,
        )


def describe(draw: DegradeDraw, i: int) -> str:
    """Caption what image i gets, such as "pixelation 18 px"; waits for the draw's device."""
    kind = int(draw.kind_B[i])
    if kind == PIXELATION:
        return f"pixelation {int(draw.short_side_B[i])} px"
    if kind == GAUSSIAN:
        return f"defocus σ {float(draw.sigma_B[i]):.1f} px"
    if kind == MOTION:
        return f"motion {int(draw.length_B[i])} px, {int(draw.angle_B[i])}°"
    raise ValueError(f"kind_B[{i}] is {kind}: pass 0 (pixelation), 1 (gaussian) or 2 (motion)")
