"""Encoded images and masks to pixels on the canvas. Knows bytes and arrays, neither data sets nor labels."""

from __future__ import annotations

import io

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from rlq_ray.errors import DataError

_JPEG_START = b"\xff\xd8"

Pixels = NDArray[np.uint8]


def decode_rgb(encoded: bytes, source: str) -> Pixels:
    """Decode a JPEG or PNG to `(H, W, 3)` RGB at its own size.

    Raises:
        DataError: unreadable or truncated.
    """
    if encoded[:2] == _JPEG_START:
        try:
            if simplejpeg.decode_jpeg_header(encoded)[2] in ("YCbCr", "Gray"):
                return np.asarray(simplejpeg.decode_jpeg(encoded))
        except ValueError:
            pass  # PIL decides: it forgives stray bytes between markers, which are harmless, but not a missing end
    return np.asarray(_open(encoded, source).convert("RGB"))


def decode_onto(canvas_HWC: Pixels, encoded: bytes, source: str) -> tuple[int, int]:
    """Decode a JPEG or PNG into a slot `(H, W, 3)`, resized (bilinear, antialiased) if it has another size.

    Returns the stored image's (height, width) in pixels.

    Raises:
        DataError: unreadable or truncated.
    """
    height, width = canvas_HWC.shape[:2]
    if encoded[:2] == _JPEG_START:
        try:
            stored_height, stored_width, colours, _ = simplejpeg.decode_jpeg_header(encoded)
            if (stored_height, stored_width) == (height, width) and colours in ("YCbCr", "Gray"):
                simplejpeg.decode_jpeg(encoded, buffer=canvas_HWC)
                return height, width
        except ValueError:
            pass  # as above
    pixels = decode_rgb(encoded, source)
    size = (pixels.shape[0], pixels.shape[1])
    if size != (height, width):
        pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    canvas_HWC[:] = pixels
    return size


def decode_mask_onto(canvas_HW: NDArray[np.bool_], encoded: bytes, source: str) -> None:
    """Decode a mask image, non-zero = cloth, into a slot `(H, W)`, resized to the nearest pixel.

    Raises:
        DataError: unreadable or truncated.
    """
    image = _open(encoded, f"the mask of {source}")
    if image.mode not in ("1", "L"):
        image = image.convert("L")
    height, width = canvas_HW.shape
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.NEAREST)
    canvas_HW[:] = np.asarray(image) != 0


def _open(encoded: bytes, source: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(encoded))
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"cannot decode {source} ({reason}): replace or remove the file") from error
    return image
