"""Copies have near hashes, other pictures have not, and the search finds what a slow one finds."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from rlq_ray.data.check import hashing
from rlq_ray.data.check.hashing import NEAR_BITS, Copies, closest_copies, cut_search, perceptual_hash, search

Change = Callable[[Image.Image], Image.Image]


@pytest.fixture(scope="module")
def people(tiny_people) -> list[Image.Image]:
    return [Image.open(file).convert("RGB") for file in sorted(tiny_people.folders["target"].glob("LTCC_ReID/*/*.png"))]


def hash_of(image: Image.Image) -> NDArray[np.uint64]:
    hashes = perceptual_hash(np.asarray(image))
    assert hashes is not None
    return hashes


def slow_distance(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> int:
    pairs = ((0, 0), (0, 1), (1, 0))
    return min(sum(int(a ^ b).bit_count() for a, b in zip(one[i], other[j], strict=True)) for i, j in pairs)


def recompressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=40)
    return Image.open(buffer).convert("RGB")


def scaled(image: Image.Image) -> Image.Image:
    return image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.BICUBIC)


def brightened(image: Image.Image) -> Image.Image:
    return image.point(lambda value: min(255, int(1.15 * value)))


def cropped(image: Image.Image) -> Image.Image:
    return image.crop((1, 2, image.width - 1, image.height - 1))


@pytest.mark.parametrize(
    "change", [recompressed, scaled, brightened, cropped, lambda image: scaled(recompressed(image))]
)
def test_a_changed_copy_is_near(people: list[Image.Image], change: Change) -> None:
    distances = [slow_distance(hash_of(image), hash_of(change(image))) for image in people]
    assert max(distances) <= NEAR_BITS
    assert max(distances) > 0


def test_other_pictures_are_far(people: list[Image.Image]) -> None:
    hashes = [hash_of(image) for image in people]
    distances = [slow_distance(one, other) for place, one in enumerate(hashes) for other in hashes[:place]]
    assert min(distances) > NEAR_BITS


def test_an_image_of_one_colour_has_no_hash() -> None:
    black = np.zeros((128, 64, 3), dtype=np.uint8)
    assert perceptual_hash(black) is None
    assert perceptual_hash(black + np.random.default_rng(0).integers(0, 4, black.shape, dtype=np.uint8)) is None


def test_the_search_finds_what_a_slow_one_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_BLOCK", 7)
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, (60, 2, 4), dtype=np.uint64)
    for row in range(40, 60):  # copies of the first ones, by a growing number of changed bits, up to 57
        changed = np.packbits(rng.permutation(256) < 3 * (row - 40)).view(np.uint64)
        hashes[row, row % 2] = hashes[row - 40, 0] ^ changed
    rows, others = np.arange(40, 60), np.arange(40)
    found = closest_copies(search(job) for job in cut_search(hashes, rows, others))
    slow = [(min((slow_distance(hashes[row], hashes[other]), other) for other in others), row) for row in rows]
    expected = sorted((bits, int(row), int(other)) for (bits, other), row in slow if bits <= NEAR_BITS)
    assert len(expected) == 14
    assert list(zip(found.bits.tolist(), found.row.tolist(), found.other.tolist(), strict=True)) == expected


def test_nothing_to_search_gives_no_copies() -> None:
    found = closest_copies([])
    assert [len(column) for column in (found.row, found.other, found.bits)] == [0, 0, 0]


def test_of_several_pieces_the_closest_copy_counts() -> None:
    pieces = [
        Copies(np.array([3, 5]), np.array([1, 8]), np.array([10, 4], np.int16)),
        Copies(np.array([3]), np.array([9]), np.array([2], np.int16)),
    ]
    found = closest_copies(pieces)
    assert (found.row.tolist(), found.other.tolist(), found.bits.tolist()) == ([3, 5], [9, 8], [2, 4])
