"""Dress the people of a batch in other colours, and label the new clothes (Pathak & Rawat, BMVC 2025, CAP).

81 (shirt, trousers) pairs of 9 colours; pair = 9 · shirt + trousers. Happens on the canvas, before augmentation.
An image whose masks are faulty keeps only their union and gets one colour: the shirt's, for both, so that its label is
that of the pair (shirt, shirt).
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

COLOURS: dict[str, tuple[int, int, int]] = {
    "green": (0, 128, 0),
    "blue": (0, 0, 255),
    "purple": (128, 0, 128),
    "red": (255, 0, 0),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "orange": (255, 165, 0),
    "yellow": (255, 255, 0),
    "pink": (255, 192, 203),
}
"""CSS colours, 8-bit RGB, in the order of their numbers."""

NUM_PAIRS = len(COLOURS) ** 2


def draw_pairs(num: int, generator: torch.Generator) -> Tensor:
    """Draw a pair in 0…80 for each of `num` images, int64 (B,), on the generator's device."""
    return torch.randint(NUM_PAIRS, (num,), generator=generator, device=generator.device)


def worn_pairs(pair_B: Tensor, mask_faulty_B: Tensor) -> Tensor:
    """Replace the pair of an image with faulty masks by its shirt's colour twice."""
    shirt_B = torch.div(pair_B, len(COLOURS), rounding_mode="floor")
    return torch.where(mask_faulty_B, shirt_B * (len(COLOURS) + 1), pair_B)


def recoloured_clothes(
    pair_B: Tensor, identity_B: Tensor, num_clothes: int, mask_faulty_B: Tensor | None = None
) -> Tensor:
    """Label the new clothes: `num_clothes` + 81 · identity + pair, int64 (B,).

    Pass the `mask_faulty_B` that `recolour` gets, if any mask may be faulty.
    """
    if mask_faulty_B is not None:
        pair_B = worn_pairs(pair_B, mask_faulty_B)
    return num_clothes + NUM_PAIRS * identity_B + pair_B


def recolour(
    image_BCHW: Tensor,
    shirt_B1HW: Tensor,
    trousers_B1HW: Tensor,
    mask_faulty_B: Tensor,
    pair_B: Tensor,
    alpha: float,
    *,
    shading: bool = False,
) -> Tensor:
    """Blend the pair's colours over shirt and trousers: (1 − alpha) · image + alpha · colour, in 8 bits.

    With `shading` the colour at a pixel is multiplied by the garment's luma there over its mean luma. Keeps the memory
    layout. Where the masks overlap the shirt wins; an image without a mask comes back as it is.

    Raises:
        ValueError: the image is not uint8 RGB (B, 3, H, W), or a mask has another size.
    """
    if image_BCHW.dtype != torch.uint8 or image_BCHW.dim() != 4 or image_BCHW.shape[1] != 3:
        raise ValueError(f"image is {image_BCHW.dtype} {tuple(image_BCHW.shape)}: pass uint8 RGB (B, 3, H, W)")
    mask_shape = (len(image_BCHW), 1, *image_BCHW.shape[2:])
    for name, mask in (("shirt", shirt_B1HW), ("trousers", trousers_B1HW)):
        if mask.shape != mask_shape:
            raise ValueError(f"{name} mask is {tuple(mask.shape)}: pass bool {mask_shape}, the size of the images")
    pair_B = worn_pairs(pair_B, mask_faulty_B)
    palette = _palette(image_BCHW.device)
    shirt_BC11 = palette[torch.div(pair_B, len(COLOURS), rounding_mode="floor")][:, :, None, None]
    trousers_BC11 = palette[pair_B % len(COLOURS)][:, :, None, None]
    new_BCHW = torch.where(shirt_B1HW, shirt_BC11, trousers_BC11)
    # Masks and colours spread over whole planes; over interleaved channels a CPU takes four times as long.
    plane_BCHW = image_BCHW.contiguous()
    if shading:
        new_BCHW = (new_BCHW * _shading(plane_BCHW, shirt_B1HW, trousers_B1HW & ~shirt_B1HW)).clamp_(max=255)
    blended_BCHW = torch.lerp(plane_BCHW.float(), new_BCHW, alpha).round_().to(torch.uint8)
    out_BCHW = torch.where(shirt_B1HW | trousers_B1HW, blended_BCHW, plane_BCHW)
    interleaved = image_BCHW.is_contiguous(memory_format=torch.channels_last) and not image_BCHW.is_contiguous()
    return out_BCHW.contiguous(memory_format=torch.channels_last if interleaved else torch.contiguous_format)


def _shading(plane_BCHW: Tensor, *garments: Tensor) -> Tensor:
    """Luma (ITU-R BT.601) over the mean luma of the garment `(B, 1, H, W)` that a pixel belongs to; 1 elsewhere."""
    red, green, blue = plane_BCHW.float().unbind(dim=1)
    luma_B1HW = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]
    shading_B1HW = torch.ones_like(luma_B1HW)
    for garment_B1HW in garments:
        area_B111 = garment_B1HW.sum(dim=(2, 3), keepdim=True).clamp(min=1)
        mean_B111 = (luma_B1HW * garment_B1HW).sum(dim=(2, 3), keepdim=True) / area_B111
        shading_B1HW = torch.where(garment_B1HW, luma_B1HW / mean_B111.clamp(min=1), shading_B1HW)
    return shading_B1HW


@cache
def _palette(device: torch.device) -> Tensor:
    # A tensor made of Python numbers stalls a GPU, so there is one per device.
    return torch.tensor(list(COLOURS.values()), dtype=torch.float32, device=device)
