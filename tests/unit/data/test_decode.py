"""Pixels are PIL's, whichever decoder made them."""

from __future__ import annotations

import io

import numpy as np
import pytest
import simplejpeg
import torch
from PIL import Image

from rlq_ray.data.decode import (
    decode_batch,
    decode_mask_onto,
    decode_onto,
    decode_plain_onto,
    decode_rgb,
    is_plain_jpeg,
)
from rlq_ray.errors import DataError


def encode(mode: str, kind: str, size: tuple[int, int] = (24, 48)) -> bytes:
    generator = np.random.default_rng(3)
    small = Image.fromarray(generator.integers(0, 256, (6, 3, 3), dtype=np.uint8)).resize(size)
    stream = io.BytesIO()
    small.convert(mode).save(stream, kind)
    return stream.getvalue()


CASES = [("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG"), ("L", "PNG"), ("P", "PNG"), ("RGBA", "PNG")]


@pytest.mark.parametrize(("mode", "kind"), CASES)
def test_pixels_are_those_of_pil(mode, kind):
    encoded = encode(mode, kind)
    expected = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
    np.testing.assert_array_equal(decode_rgb(encoded, "x"), expected)
    canvas = np.zeros((2, 48, 24, 3), dtype=np.uint8)
    assert decode_onto(canvas[1], encoded, "x") == (48, 24)
    np.testing.assert_array_equal(canvas[1], expected)
    assert not canvas[0].any()


@pytest.mark.parametrize(("mode", "kind"), CASES)
def test_only_what_decodes_alike_without_a_look_at_its_header_is_marked(mode, kind):
    encoded = encode(mode, kind)
    assert is_plain_jpeg(encoded) == ((mode, kind) in (("RGB", "JPEG"), ("L", "JPEG")))
    if is_plain_jpeg(encoded):
        canvas = np.zeros((48, 24, 3), dtype=np.uint8)
        decode_plain_onto(canvas, encoded, "x")
        np.testing.assert_array_equal(canvas, decode_rgb(encoded, "x"))
        with pytest.raises(DataError, match=r"cannot decode train/a\.jpg"):
            decode_plain_onto(canvas, encoded[: len(encoded) // 2], "train/a.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_another_size_is_resized_with_antialias(kind):
    encoded = encode("RGB", kind, size=(50, 70))
    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    canvas = np.zeros((48, 24, 3), dtype=np.uint8)
    assert decode_onto(canvas, encoded, "x") == (70, 50)
    np.testing.assert_array_equal(canvas, np.asarray(image.resize((24, 48), Image.Resampling.BILINEAR)))


@pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities of TorchVision")
def test_a_device_decodes_a_batch_of_all_kinds_and_sizes():
    """Here the device is the CPU; what nvJPEG makes of the same call is looked at where there is one."""
    files = [(encode(mode, kind, size), "x") for mode, kind in CASES for size in ((24, 48), (50, 70))]
    batch = decode_batch(files, 48, 24, torch.device("cpu"))
    assert batch.shape == (len(files), 3, 48, 24)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    canvas = np.zeros((48, 24, 3), dtype=np.uint8)
    for image, (encoded, source) in zip(batch, files, strict=True):
        decode_onto(canvas, encoded, source)
        difference = np.abs(image.permute(1, 2, 0).numpy().astype(int) - canvas)
        assert difference.max() <= 2  # bilinear weights are rounded in other places


@pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities of TorchVision")
def test_a_broken_file_is_named_among_those_a_device_decodes():
    encoded = encode("RGB", "JPEG")
    files = [(encoded, "good"), (encoded[: len(encoded) // 2], "train/a.jpg")]
    with pytest.raises(DataError, match=r"cannot decode train/a\.jpg"):
        decode_batch(files, 48, 24, torch.device("cpu"))


def test_stray_bytes_are_forgiven_and_a_missing_end_is_not():
    encoded = encode("RGB", "JPEG")
    stray = encoded[:20] + bytes(5) + encoded[20:]  # after the JFIF segment
    with pytest.raises(ValueError, match="extraneous"):
        simplejpeg.decode_jpeg(stray)
    np.testing.assert_array_equal(decode_rgb(stray, "x"), decode_rgb(encoded, "x"))
    for broken in (encoded[: len(encoded) // 2], b"", b"no image"):
        with pytest.raises(DataError, match=r"cannot decode train/a\.jpg"):
            decode_onto(np.zeros((48, 24, 3), dtype=np.uint8), broken, "train/a.jpg")


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA"])
def test_masks_are_non_zero_pixels_at_the_nearest_place(mode):
    mask = np.zeros((4, 2), dtype=np.uint8)
    mask[1, 0], mask[3, 1] = 255, 3 if mode == "L" else 255
    stream = io.BytesIO()
    Image.fromarray(mask).convert(mode).save(stream, "PNG")
    slot = np.ones((8, 4), dtype=np.bool_)
    decode_mask_onto(slot, stream.getvalue(), "x")
    np.testing.assert_array_equal(slot, np.kron(mask, np.ones((2, 2))) > 0)
    with pytest.raises(DataError, match="cannot decode the mask of x"):
        decode_mask_onto(slot, b"", "x")
