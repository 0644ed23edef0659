"""What colours alone tell of a person: histograms of an image where a mask of the renderer says what is seen.

They are baselines that a learned model has to beat, and need the exact truth that only rendered people have. Knows one
image at a time: neither files nor how features are compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rlq_ray.people.shading import Label

BINS = 8
"""Per axis of CIE L*a*b*."""
LAB_FROM = np.array([0.0, -60.0, -60.0])
LAB_TO = np.array([100.0, 60.0, 60.0])
"""The bins share this range, in which all but the most garish colours lie; what is outside counts at its edge."""

_SRGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE_XYZ = _SRGB_TO_XYZ.sum(1)


def lab_of_srgb(rgb_N3: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Turn sRGB (IEC 61966-2-1) into CIE L*a*b* (N, 3) under D65: L in 0…100, a and b about −100…100."""
    shown = rgb_N3 / 255.0
    linear = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _SRGB_TO_XYZ.T / _WHITE_XYZ
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


def colour_histogram(image_HW3: NDArray[np.uint8], mask_HW: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Count the masked pixels' colours in L*a*b* jointly, `(BINS³,)` of unit length, or zeros where the mask is empty.

    A pixel shares its count linearly between the neighbouring bins. The numbers are square roots of shares, so that
    their inner product is the Bhattacharyya coefficient of two histograms.

    Raises:
        ValueError: no uint8 image (H, W, 3), or no bool mask of its size.
    """
    if image_HW3.dtype != np.uint8 or image_HW3.ndim != 3 or image_HW3.shape[2] != 3:
        raise ValueError(f"the image is {image_HW3.dtype} of shape {image_HW3.shape}: pass uint8 (H, W, 3)")
    if mask_HW.dtype != np.bool_ or mask_HW.shape != image_HW3.shape[:2]:
        raise ValueError(
            f"the mask is {mask_HW.dtype} of shape {mask_HW.shape}: pass bool {image_HW3.shape[:2]}, as the image has"
        )
    lab_N3 = lab_of_srgb(image_HW3[mask_HW])
    place_N3 = np.clip((lab_N3 - LAB_FROM) / (LAB_TO - LAB_FROM) * BINS - 0.5, 0, BINS - 1)
    low_N3 = np.minimum(place_N3.astype(np.int64), BINS - 2)
    upper_share_N3 = place_N3 - low_N3
    count = np.zeros(BINS**3)
    for corner in itertools.product((0, 1), repeat=3):
        bin_N = (low_N3 + corner) @ [BINS**2, BINS, 1]
        share_N = np.where(corner, upper_share_N3, 1 - upper_share_N3).prod(1)
        count += np.bincount(bin_N, share_N, minlength=BINS**3)
    return np.sqrt(count / max(count.sum(), 1.0)).astype(np.float32)


def person_colours(image_HW3: NDArray[np.uint8], label_HW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe a whole person, clothes and all, by the colours of what is no background, `(BINS³,)`."""
    return colour_histogram(image_HW3, label_HW != Label.BACKGROUND)


def skin_and_hair_colours(image_HW3: NDArray[np.uint8], label_HW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe a person by the colours of skin and of hair, `(2·BINS³,)`; what is hidden or not there is zeros."""
    parts = [colour_histogram(image_HW3, label_HW == label) for label in (Label.SKIN, Label.HAIR)]
    return np.concatenate(parts)


COLOUR_BASELINES: dict[str, Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]] = {
    "person colours": person_colours,
    "skin and hair colours": skin_and_hair_colours,
}
"""What makes features of an image and its labels, by name. Their cosines are to be compared."""
