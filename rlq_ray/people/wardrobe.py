"""What a person wears: outfits as values, drawn independently of who wears them, but for gender.

Levels are canonical heights (see `body`), lengths metres, colours linear RGB.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rlq_ray.people.body import FloatArray
from rlq_ray.people.identity import POPULATION_STREAMS, Population, to_linear
from rlq_ray.people.presets import Preset

Pattern = Literal[
    "plain", "stripes", "pinstripes", "check", "dots", "print", "two_tone", "open_jacket", "raglan", "denim"
]
BottomKind = Literal["trousers", "shorts", "skirt", "dress"]
BOTTOM_KINDS: tuple[BottomKind, ...] = ("trousers", "shorts", "skirt", "dress")
TOP_PATTERNS: tuple[Pattern, ...] = (
    "plain", "stripes", "pinstripes", "check", "dots", "print", "two_tone", "open_jacket", "raglan",
)  # fmt: skip
TOP_PATTERN_SHARE = (0.36, 0.12, 0.04, 0.08, 0.04, 0.13, 0.06, 0.12, 0.05)
BOTTOM_PATTERNS: tuple[Pattern, ...] = ("plain", "pinstripes", "check", "denim")
BOTTOM_PATTERN_SHARE = (0.62, 0.05, 0.06, 0.27)

SLEEVE_ENDS = (0.18, 0.62, 0.80, 1.35, 1.97)  # on the arm: 0 shoulder, 1 elbow, 2 wrist
SLEEVE_SHARE = (0.05, 0.27, 0.20, 0.07, 0.41)
GREYS = (0.10, 0.16, 0.28, 0.45, 0.62, 0.85, 0.92)


@dataclass(frozen=True)
class Cloth:
    """Two colours and how they alternate; `repeats` per metre."""

    pattern: Pattern
    first_rgb: FloatArray
    second_rgb: FloatArray
    repeats: float


@dataclass(frozen=True)
class Top:
    """Shirt, jumper, jacket or the upper part of a dress."""

    cloth: Cloth
    sleeve_end: float
    hem_level: float
    looseness: float
    neckline: float
    v_neck: bool
    clinging: float


@dataclass(frozen=True)
class Bottom:
    """Trousers, shorts or skirt; of a dress it is the part below the waist."""

    kind: BottomKind
    cloth: Cloth
    hem_level: float
    looseness: float
    clinging: float
    flare: float


@dataclass(frozen=True)
class Outfit:
    """Everything that changes when a person changes clothes."""

    top: Top
    bottom: Bottom
    tucked: bool
    shoe_rgb: FloatArray
    sole_rgb: FloatArray
    sock_rgb: FloatArray | None
    boot_level: float | None
    hat: Literal["none", "beanie", "cap"]
    hat_rgb: FloatArray
    bag: bool
    bag_rgb: FloatArray


def draw_colour(rng: np.random.Generator) -> FloatArray:
    """Draw the colour of a garment, linear RGB: two in five grey, the rest any hue, seldom garish."""
    if rng.random() < 0.40:
        value = GREYS[rng.integers(len(GREYS))]
        return to_linear(np.clip(value + rng.normal(0, 0.015, 3), 0.05, 0.95))
    saturation = rng.beta(2.0, 2.6)
    value = rng.uniform(0.25, 0.92)
    return to_linear(np.array(colorsys.hsv_to_rgb(rng.random(), saturation, value)))


def draw_cloth(rng: np.random.Generator, patterns: tuple[Pattern, ...], share: tuple[float, ...]) -> Cloth:
    """Draw pattern and colours."""
    pattern = patterns[rng.choice(len(patterns), p=share)]
    first, second = draw_colour(rng), draw_colour(rng)
    if pattern == "denim":
        first = to_linear(np.array([0.20, 0.28, 0.42]) * rng.uniform(0.55, 1.9))
    if np.abs(first - second).max() < 0.12:  # a pattern of two equal colours would show nothing
        second = (
            to_linear(np.array([0.9, 0.9, 0.88])) if first.mean() < 0.3 else to_linear(np.array([0.12, 0.12, 0.15]))
        )
    return Cloth(pattern, first, second, float(rng.uniform(7, 20)))


def draw_bottom(rng: np.random.Generator, female: bool, top: Cloth, max_looseness: float) -> Bottom:
    """Draw what covers hips and legs; a dress takes the top's cloth."""
    kind = BOTTOM_KINDS[rng.choice(4, p=(0.58, 0.15, 0.15, 0.12) if female else (0.76, 0.24, 0, 0))]
    cloth = draw_cloth(rng, BOTTOM_PATTERNS, BOTTOM_PATTERN_SHARE)
    if kind == "dress":
        cloth = Cloth("plain" if top.pattern in ("print", "open_jacket") else top.pattern, *_colours(top), top.repeats)
    hems = {"trousers": (-0.775, -0.72), "shorts": (-0.36, -0.14), "skirt": (-0.62, -0.16), "dress": (-0.6, -0.18)}
    return Bottom(
        kind=kind,
        cloth=cloth,
        hem_level=float(rng.uniform(*hems[kind])),
        looseness=float(rng.uniform(0.003, max_looseness)),
        clinging=float(rng.beta(1.2, 1.2)),
        flare=float(rng.uniform(0.05, 0.28) if rng.random() < 0.7 else 0.0),
    )


def _colours(cloth: Cloth) -> tuple[FloatArray, FloatArray]:
    return cloth.first_rgb, cloth.second_rgb


def draw_outfit(preset: Preset, population: Population, seed: int, identity: int, outfit: int, female: bool) -> Outfit:
    """Draw outfit number `outfit` of a person."""
    rng = np.random.default_rng([seed, POPULATION_STREAMS[population], 2, identity, outfit])
    cloth = draw_cloth(rng, TOP_PATTERNS, TOP_PATTERN_SHARE)
    sleeve = SLEEVE_ENDS[rng.choice(len(SLEEVE_ENDS), p=SLEEVE_SHARE)]
    if cloth.pattern == "open_jacket":
        sleeve = SLEEVE_ENDS[-1]
    bottom = draw_bottom(rng, female, cloth, preset.max_looseness_m)
    tucked = bool(rng.random() < (0.4 if bottom.kind == "skirt" else 0.15)) and cloth.pattern != "open_jacket"
    long_cut = cloth.pattern == "open_jacket" and rng.random() < 0.4
    hem = rng.uniform(-0.3, -0.1) if long_cut else rng.uniform(0.05, 0.15)
    top = Top(
        cloth=cloth,
        sleeve_end=float(sleeve + rng.normal(0, 0.03) * (sleeve < 1.9)),
        hem_level=float(bottom.hem_level if bottom.kind == "dress" else 0.215 if tucked else hem),
        looseness=float(rng.uniform(0.004, preset.max_looseness_m)),
        neckline=float(rng.uniform(0.0, 0.035)),
        v_neck=bool(rng.random() < (0.35 if female else 0.15)),
        clinging=float(rng.beta(1.4, 1.4) if female else rng.beta(1.1, 1.8)),
    )
    neutral = to_linear(np.array([0.88, 0.87, 0.84]))
    shoe = draw_colour(rng) * (1 if rng.random() < 0.5 else 0.25)
    sock = None if rng.random() < 0.5 else (neutral if rng.random() < 0.5 else draw_colour(rng))
    return Outfit(
        top=top,
        bottom=bottom,
        tucked=tucked,
        shoe_rgb=np.maximum(shoe, 0.008),
        sole_rgb=neutral * 0.9 if rng.random() < 0.5 else to_linear(np.array([0.12, 0.11, 0.1])),
        sock_rgb=sock,
        boot_level=float(rng.uniform(-0.68, -0.45)) if rng.random() < (0.22 if female else 0.06) else None,
        hat="none" if rng.random() >= preset.hat_probability else ("beanie" if rng.random() < 0.5 else "cap"),
        hat_rgb=draw_colour(rng),
        bag=bool(rng.random() < preset.bag_probability),
        bag_rgb=draw_colour(rng) * 0.7,
    )
