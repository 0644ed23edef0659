"""Encoded images and masks to pixels on the canvas. Knows bytes and arrays, neither data sets nor labels."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import resize

from rlq_ray.errors import DataError

_JPEG_START = b"\xff\xd8"

Pixels = NDArray[np.uint8]
Encoded = bytes | memoryview
Source = object
"""What an image is called in an error, by its `str`: that is asked for only then."""


def decode_rgb(encoded: Encoded, source: Source) -> Pixels:
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


def decode_onto(canvas_HWC: Pixels, encoded: Encoded, source: Source) -> tuple[int, int]:
    """Decode a JPEG or PNG into a slot `(H, W, 3)`, resized (bilinear, antialiased) if it has another size.

    Returns the stored image's (height, width) in pixels.

    Raises:
        DataError: unreadable or truncated.
    """
    height, width = canvas_HWC.shape[:2]
    try:
        stored_height, stored_width, colours, _ = simplejpeg.decode_jpeg_header(encoded)
        if (stored_height, stored_width) == (height, width) and colours in ("YCbCr", "Gray"):
            simplejpeg.decode_jpeg(encoded, buffer=canvas_HWC)
            return height, width
    except ValueError:
        pass  # as above, or no JPEG
    pixels = decode_rgb(encoded, source)
    size = (pixels.shape[0], pixels.shape[1])
    if size != (height, width):
        pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    canvas_HWC[:] = pixels
    return size


def decode_plain_onto(canvas_HWC: Pixels, encoded: Encoded, source: Source) -> None:
    """Decode a plain JPEG of the canvas's size, as the index says it is, into a slot `(H, W, 3)`.

    Raises:
        DataError: unreadable or truncated.
    """
    try:
        simplejpeg.decode_jpeg(encoded, buffer=canvas_HWC)
    except ValueError:
        decode_onto(canvas_HWC, encoded, source)


def decode_batch(
    files: Sequence[tuple[Encoded, Source]], height: int, width: int, device: torch.device
) -> torch.Tensor:
    """Decode (file, source) pairs on a device: `(B, 3, H, W)` uint8 in channels-last memory.

    JPEG is decoded by torchvision, on CUDA by nvJPEG, whose pixels differ from the CPU's by rounding; others by PIL.
    Images of another size are resized there (bilinear, antialiased).

    Raises:
        DataError: unreadable or truncated.
    """
    image_BCHW = torch.empty(
        (len(files), 3, height, width), dtype=torch.uint8, device=device, memory_format=torch.channels_last
    )
    jpegs = [place for place, (encoded, _) in enumerate(files) if is_plain_jpeg(encoded)]
    decoded = dict(zip(jpegs, _decode_jpegs([files[place] for place in jpegs], device), strict=True))
    for place, (encoded, source) in enumerate(files):
        image_CHW = decoded.get(place)
        if image_CHW is None:
            image_CHW = torch.from_numpy(decode_rgb(encoded, source).copy()).permute(2, 0, 1).to(device)
        if image_CHW.shape[1:] != (height, width):
            image_CHW = resize(image_CHW, [height, width], InterpolationMode.BILINEAR, antialias=True)
        image_BCHW[place] = image_CHW
    return image_BCHW


def _decode_jpegs(files: Sequence[tuple[Encoded, Source]], device: torch.device) -> list[torch.Tensor]:
    if not files:
        return []
    tensors = [torch.frombuffer(bytearray(encoded), dtype=torch.uint8) for encoded, _ in files]
    try:
        decoded: list[torch.Tensor] = decode_jpeg(tensors, ImageReadMode.RGB, device=device)
    except RuntimeError as error:
        for encoded, source in files:  # which one it was is not told
            decode_rgb(encoded, source)
        reason = str(error).splitlines()[0]
        raise DataError(f"{device} cannot decode a JPEG ({reason}): set data.decoder=cpu") from error
    return decoded


def is_plain_jpeg(encoded: Encoded) -> bool:
    """Tell whether it is a JPEG in a colour space that every decoder takes alike."""
    try:
        return encoded[:2] == _JPEG_START and simplejpeg.decode_jpeg_header(encoded)[2] in ("YCbCr", "Gray")
    except ValueError:
        return False


def decode_mask_onto(canvas_HW: NDArray[np.bool_], encoded: Encoded, source: Source) -> None:
    """Decode a mask image, non-zero = cloth, into a slot `(H, W)`, resized to the nearest pixel.

    Raises:
        DataError: unreadable or truncated.
    """
    image = _open(encoded, source, "the mask of ")
    if image.mode not in ("1", "L"):
        image = image.convert("L")
    height, width = canvas_HW.shape
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.NEAREST)
    canvas_HW[:] = np.asarray(image) != 0


def _open(encoded: Encoded, source: Source, part: str = "") -> Image.Image:
    try:
        image = Image.open(io.BytesIO(encoded))
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"cannot decode {part}{source} ({reason}): replace or remove the file") from error
    return image
