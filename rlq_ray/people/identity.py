"""Who a person is: what stays the same whatever they wear.

An identity is a row of the body model, hair, skin, and habits of standing and walking. It must hold nothing that an
outfit, a camera or a frame could change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from rlq_ray.people.body import BodyModel, FloatArray, IntArray

Population = Literal["target", "external"]
HairStyle = Literal["bald", "cropped", "short", "bob", "long", "bun", "ponytail"]

POPULATION_STREAMS: dict[Population, int] = {"target": 1, "external": 2}

# sRGB, from black over brown and blond to red, grey and white.
HAIR_SRGB = np.array([
    [0.09, 0.08, 0.08], [0.16, 0.11, 0.09], [0.28, 0.18, 0.12], [0.40, 0.27, 0.17], [0.58, 0.42, 0.25],
    [0.78, 0.64, 0.42], [0.48, 0.20, 0.10], [0.55, 0.54, 0.53], [0.80, 0.79, 0.77],
])  # fmt: skip
SKIN_SRGB = np.array([
    [0.91, 0.75, 0.65], [0.87, 0.69, 0.57], [0.80, 0.61, 0.48], [0.71, 0.51, 0.37], [0.57, 0.39, 0.28],
    [0.43, 0.29, 0.21],
])  # fmt: skip
HAIR_STYLES: tuple[HairStyle, ...] = ("bald", "cropped", "short", "bob", "long", "bun", "ponytail")
STYLE_SHARE_FEMALE = (0.01, 0.04, 0.13, 0.22, 0.30, 0.14, 0.16)
STYLE_SHARE_MALE = (0.14, 0.36, 0.38, 0.07, 0.02, 0.02, 0.01)
BEARD_SHARE = 0.3


@dataclass(frozen=True)
class Identity:
    """One person. Colours are linear RGB, angles radians.

    Attributes:
        row: row of the body model's coefficients.
        stoop: forward bend of the back.
        arm_spread: how far the arms hang from the body.
        toe_out: how far the feet point outwards.
        stride: factor on the length of the steps.
        elbow_bend: usual bend of the elbows.
        head_tilt: usual nod of the head, positive down.
    """

    row: int
    female: bool
    hair_style: HairStyle
    hair_rgb: FloatArray
    hair_thickness: float
    skin_rgb: FloatArray
    beard: bool
    stoop: float
    arm_spread: float
    toe_out: float
    stride: float
    elbow_bend: float
    head_tilt: float


def to_linear(srgb: FloatArray) -> FloatArray:
    """Turn sRGB values in [0, 1] into linear light (pure power 2.2)."""
    return np.clip(srgb, 0, 1) ** 2.2


def population_rows(body: BodyModel, population: Population, seed: int) -> IntArray:
    """Return the body rows of a population in its drawing order.

    At one seed, target and external share none of their first N and M rows where N + M is at most the number of bodies.
    """
    order = np.random.default_rng([seed, 0]).permutation(body.num_bodies)
    first, second = order[: body.num_bodies // 2], order[body.num_bodies // 2 :]
    own, others = (first, second) if population == "target" else (second, first)
    return np.concatenate([own, others[::-1]])  # what one takes of the other's half is what that one takes last


def draw_identity(body: BodyModel, population: Population, seed: int, index: int) -> Identity:
    """Draw person `index` of a population.

    Raises:
        ValueError: the population has fewer bodies.
    """
    rows = population_rows(body, population, seed)
    if not 0 <= index < len(rows):
        raise ValueError(
            f"identity {index}: the {population} population has {len(rows)} bodies; ask for fewer identities"
        )
    row = int(rows[index])
    rng = np.random.default_rng([seed, POPULATION_STREAMS[population], 1, index])
    female = bool(body.female[row])
    style = HAIR_STYLES[rng.choice(len(HAIR_STYLES), p=STYLE_SHARE_FEMALE if female else STYLE_SHARE_MALE)]
    grey = body.age[row] > 0.88 and rng.random() < 0.6
    shade = rng.choice([7, 8]) if grey else rng.choice(7, p=[0.26, 0.22, 0.18, 0.12, 0.09, 0.06, 0.07])
    hair = to_linear(HAIR_SRGB[shade] * rng.uniform(0.85, 1.15))
    tone = rng.uniform(0, len(SKIN_SRGB) - 1.001)
    low = int(tone)
    skin = SKIN_SRGB[low] * (1 - tone + low) + SKIN_SRGB[low + 1] * (tone - low)
    return Identity(
        row=row,
        female=female,
        hair_style=style,
        hair_rgb=hair,
        hair_thickness=float(rng.uniform(0.7, 1.3)),
        skin_rgb=to_linear(skin * rng.uniform(0.97, 1.03, 3)),
        beard=bool(not female and rng.random() < BEARD_SHARE),
        stoop=float(rng.normal(0.03, 0.06)),
        arm_spread=float(rng.normal(0, 0.05)),
        toe_out=float(rng.normal(0.02, 0.09)),
        stride=float(rng.uniform(0.7, 1.3)),
        elbow_bend=float(rng.uniform(0.1, 0.45)),
        head_tilt=float(rng.normal(0.03, 0.07)),
    )
