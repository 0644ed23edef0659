from __future__ import annotations

import numpy as np
import pytest

from rlq_ray.people.colour_histograms import (
    BINS,
    COLOUR_BASELINES,
    colour_histogram,
    lab_of_srgb,
    person_colours,
    skin_and_hair_colours,
)
from rlq_ray.people.presets import Preset
from rlq_ray.people.render import Frame, render_frame
from rlq_ray.people.shading import Label

BLACK, WHITE, RED = (0, 0, 0), (255, 255, 255), (255, 0, 0)


@pytest.fixture(scope="module")
def frame(preset: Preset) -> Frame:
    return render_frame(preset, population="target", seed=2, identity=0, outfit=0, camera=0, frame=0)


def row_of(*colours: tuple[int, int, int]) -> np.ndarray:
    return np.array([colours], np.uint8)


def slow_histogram(image_HW3: np.ndarray, mask_HW: np.ndarray) -> np.ndarray:
    """A pixel's share of a bin falls linearly to 0 one bin's width away from the bin's middle."""
    middle = np.arange(BINS) + 0.5
    total = np.zeros((BINS, BINS, BINS))
    for lightness, a, b in lab_of_srgb(image_HW3[mask_HW]):
        places = (lightness / 100 * BINS, (a + 60) / 120 * BINS, (b + 60) / 120 * BINS)
        share = [np.clip(1 - np.abs(np.clip(place, 0.5, BINS - 0.5) - middle), 0, 1) for place in places]
        total += np.einsum("i,j,k->ijk", *share)
    return np.sqrt(total / mask_HW.sum()).reshape(-1)


@pytest.mark.parametrize("name", COLOUR_BASELINES)
def test_a_baseline_describes_a_frame(name: str, frame: Frame) -> None:
    feat = COLOUR_BASELINES[name](frame.image_HW3, frame.label_HW)
    assert feat.dtype == np.float32
    assert feat.any()
    again = COLOUR_BASELINES[name](frame.image_HW3.copy(), frame.label_HW.copy())
    assert np.array_equal(feat, again)


def test_refuses_images_and_masks_of_other_kinds_and_sizes() -> None:
    image, mask = np.zeros((4, 3, 3), np.uint8), np.ones((4, 3), bool)
    for broken in (image.astype(np.float32), image[..., :2], image[0]):
        with pytest.raises(ValueError, match=r"pass uint8 \(H, W, 3\)"):
            colour_histogram(broken, mask)
    for broken in (mask.astype(np.uint8), mask[:3], mask[None]):
        with pytest.raises(ValueError, match=r"pass bool \(4, 3\)"):
            colour_histogram(image, broken)


def test_shapes_and_length(frame: Frame) -> None:
    person = person_colours(frame.image_HW3, frame.label_HW)
    parts = skin_and_hair_colours(frame.image_HW3, frame.label_HW)
    assert person.shape == (BINS**3,)
    assert parts.shape == (2 * BINS**3,)
    for histogram in (person, *parts.reshape(2, -1)):
        assert np.linalg.norm(histogram) == pytest.approx(1, abs=1e-5)


def test_lab_of_known_colours() -> None:
    known = {BLACK: (0, 0, 0), WHITE: (100, 0, 0), RED: (53.24, 80.09, 67.20), (119, 119, 119): (50.03, 0, 0)}
    found = lab_of_srgb(np.array(list(known), np.uint8))  # published values have other roundings of the matrix
    np.testing.assert_allclose(found, list(known.values()), atol=0.05)


def test_histogram_by_hand() -> None:
    histogram = colour_histogram(row_of(BLACK, BLACK, BLACK, WHITE, RED), np.array([[True] * 4 + [False]]))
    grid = histogram.reshape(BINS, BINS, BINS)
    expected = np.zeros((BINS, BINS, BINS))
    # Grey lies on the border between the fourth and the fifth bin of a and of b.
    expected[0, 3:5, 3:5], expected[BINS - 1, 3:5, 3:5] = np.sqrt(0.75 / 4), np.sqrt(0.25 / 4)
    np.testing.assert_allclose(grid, expected, atol=5e-3)
    red = colour_histogram(row_of(RED), np.ones((1, 1), bool)).reshape(BINS, BINS, BINS)
    np.testing.assert_allclose(red[3:5, -1, -1], np.sqrt([0.241, 0.759]), atol=2e-3)


def test_histogram_against_one_pixel_at_a_time() -> None:
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (9, 7, 3), np.uint8), rng.random((9, 7)) < 0.5
    np.testing.assert_allclose(colour_histogram(image, mask), slow_histogram(image, mask), atol=1e-6)


def test_what_the_mask_leaves_out_counts_for_nothing() -> None:
    rng = np.random.default_rng(1)
    image, mask = rng.integers(0, 256, (9, 7, 3), np.uint8), rng.random((9, 7)) < 0.5
    other = np.where(mask[..., None], image, 255 - image)
    assert np.array_equal(colour_histogram(image, mask), colour_histogram(other, mask))
    assert not colour_histogram(image, np.zeros((9, 7), bool)).any()


def test_a_baseline_looks_at_its_own_parts_only() -> None:
    labels = np.array([[Label.BACKGROUND, Label.SKIN, Label.HAIR, Label.SHIRT, Label.SHOE]], np.uint8)
    image = row_of(RED, WHITE, BLACK, RED, RED)
    alone = [colour_histogram(row_of(colour), np.ones((1, 1), bool)) for colour in (WHITE, BLACK)]
    assert np.array_equal(skin_and_hair_colours(image, labels), np.concatenate(alone))
    assert np.array_equal(person_colours(image, labels), colour_histogram(image, labels != Label.BACKGROUND))
    bald = np.where(labels == Label.HAIR, Label.OTHER, labels)
    assert not skin_and_hair_colours(image, bald)[BINS**3 :].any()
