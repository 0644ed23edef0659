"""Colour and label of every pixel of a person, from what the rasteriser found there.

Works on N pixels at once; knows nothing of pictures, crops or backgrounds. Colours are linear RGB.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from rlq_ray.people.accessories import HAT_LEVEL, SOLE_THICKNESS, hairline_field
from rlq_ray.people.body import SOLE_LEVEL, BoolArray, FloatArray, IntArray
from rlq_ray.people.camera import Camera
from rlq_ray.people.figure import Layer
from rlq_ray.people.identity import Identity
from rlq_ray.people.tailoring import WAIST_LEVEL, neckline_field
from rlq_ray.people.wardrobe import Cloth, Outfit

COLLAR_WIDTH = 0.013
LEG_AXIS_X = ((-0.756, -0.291, 0.15), (0.209, 0.163, 0.122))  # canonical levels, x of the axis there


class Label(IntEnum):
    """What a pixel shows."""

    BACKGROUND = 0
    SKIN = 1
    HAIR = 2
    SHIRT = 3
    TROUSERS = 4
    SHOE = 5
    OTHER = 6


@dataclass(frozen=True)
class Pixels:
    """What is seen at N pixels.

    Attributes:
        layer: (N,) `Layer`.
        canonical: (N, 3).
        arm: (N,) place along the arm, −1 off it.
        normal: (N, 3) unit, in the body's axes, towards the camera.
    """

    layer: IntArray
    canonical: FloatArray
    arm: FloatArray
    normal: FloatArray


def around_trunk(points: FloatArray) -> FloatArray:
    """Return the way around the trunk, in metres from the middle of the front."""
    return np.asarray(0.17 * np.arctan2(points[:, 0], -(points[:, 1] + 0.03)))


def around_leg(points: FloatArray) -> FloatArray:
    """Return the way around a leg, in metres from the middle of its front, alike for both legs."""
    x = np.interp(points[:, 2], *LEG_AXIS_X)
    return np.asarray(0.1 * np.arctan2(np.abs(points[:, 0]) - x, -(points[:, 1] + 0.02)))


def second_colour(cloth: Cloth, points: FloatArray, arm: FloatArray, across: FloatArray) -> BoolArray:
    """Return where (N,) a cloth shows its second colour."""
    z = points[:, 2]
    front = points[:, 1] < -0.02
    u, v = across * cloth.repeats, z * cloth.repeats
    if cloth.pattern == "stripes":
        return np.sin(2 * np.pi * v) > 0.2
    if cloth.pattern == "pinstripes":
        return np.sin(2 * np.pi * 1.5 * u) > 0.75
    if cloth.pattern == "check":
        return (np.sin(2 * np.pi * v) > 0.35) ^ (np.sin(2 * np.pi * u) > 0.35)
    if cloth.pattern == "dots":
        return np.hypot(v % 1 - 0.5, (u + 0.5 * (np.floor(v) % 2)) % 1 - 0.5) < 0.27
    if cloth.pattern == "print":
        block = (np.abs(across) < 0.095) & (np.abs(points[:, 2] - 0.50) < 0.06) & front & (arm < -0.5)
        return block & (np.sin(across * (40 + 6 * cloth.repeats)) + np.sin(points[:, 2] * 130) > -0.8)
    if cloth.pattern == "two_tone":
        return (points[:, 2] > 0.47) & (arm < 0.45)
    if cloth.pattern == "raglan":
        return arm > 0
    if cloth.pattern == "open_jacket":
        return front & (np.abs(across) < 0.04 + 0.06 * np.clip(points[:, 2] - 0.2, 0, 1)) & (arm < -0.5)
    return np.zeros(len(points), bool)  # plain and denim have one colour


def cloth_colour(cloth: Cloth, points: FloatArray, arm: FloatArray, across: FloatArray) -> FloatArray:
    """Return the colours (N, 3) of a cloth."""
    second = second_colour(cloth, points, arm, across)
    colour = np.where(second[:, None], cloth.second_rgb, cloth.first_rgb)
    if cloth.pattern == "denim":  # worn pale on the thighs
        colour = colour * (1 + 0.35 * np.exp(-(((points[:, 2] + 0.15) / 0.15) ** 2)) * (points[:, 1] < 0))[:, None]
    return np.asarray(colour)


def skin_colour(points: FloatArray, identity: Identity) -> FloatArray:
    """Return the colours (N, 3) of bare skin, with lips, brows and a beard's shadow."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    colour = np.tile(identity.skin_rgb, (len(points), 1))
    face = (z > 0.79) & (z < 0.97) & (y < -0.10)
    blush = face & (np.abs(z - 0.875) < 0.025) & (x > 0.02)
    colour[blush] *= [1.04, 0.93, 0.92]
    lips = face & (np.abs(z - 0.8475) < 0.0075) & (x < 0.023)
    colour[lips] *= [0.85, 0.5, 0.5] if identity.female else [0.88, 0.66, 0.64]
    brows = face & (np.abs(z - 0.944) < 0.005) & (np.abs(x - 0.033) < 0.018)
    colour[brows] = 0.75 * identity.hair_rgb + 0.2 * colour[brows]
    if identity.beard:
        jaw = (y < -0.055) & (z < 0.868 - 0.4 * np.clip(0.05 - x, 0, 1) * (y < -0.13)) & (z > 0.785) & ~lips
        moustache = face & (np.abs(z - 0.861) < 0.006) & (x < 0.026)
        hairy = (jaw & (z < 0.845 + 0.5 * np.clip(x - 0.03, 0, 0.05))) | moustache
        colour[hairy] = 0.8 * identity.hair_rgb + 0.15 * colour[hairy]
    return colour


def paint_skin(points: FloatArray, identity: Identity, outfit: Outfit) -> tuple[FloatArray, IntArray]:
    """Return colours and labels of pixels on the skin mesh: skin, scalp hair, hat, socks and boots."""
    colour = skin_colour(points, identity)
    label = np.full(len(points), Label.SKIN)
    level = points[:, 2]
    if identity.hair_style != "bald":
        scalp = (hairline_field(points) > 0.002) & (level > 0.78)
        colour[scalp] = hair_colour(points[scalp], identity)
        label[scalp] = Label.HAIR
    if outfit.hat != "none":
        hat = (level > HAT_LEVEL) & (level > 0.9)
        colour[hat] = outfit.hat_rgb * np.where(level[hat] < HAT_LEVEL + 0.018, 0.75, 1.0)[:, None]
        label[hat] = Label.OTHER
    leg = (level < 0) & (np.abs(points[:, 0]) < 0.3)
    if outfit.sock_rgb is not None:
        sock = leg & (level < -0.66)
        colour[sock] = outfit.sock_rgb
        label[sock] = Label.SHOE
    if outfit.boot_level is not None:
        boot = leg & (level < outfit.boot_level)
        colour[boot] = outfit.shoe_rgb
        label[boot] = Label.SHOE
    return colour, label


def covered(points: FloatArray, arm: FloatArray, outfit: Outfit) -> tuple[BoolArray, BoolArray]:
    """Return which pixels (N,) of the skin mesh lie under the top and under trousers.

    At the edges of thin cloth the finer skin mesh may come through; painted as cloth it is not seen.
    """
    level = points[:, 2]
    on_arm = (arm > 0) & (arm < outfit.top.sleeve_end)
    on_trunk = (arm <= 0) & (level > 0.35) & (level < 0.79) & (neckline_field(points, outfit) > 0)
    on_leg = (arm < -0.5) & (level < 0.2) & (level > outfit.bottom.hem_level)
    return on_arm | on_trunk, on_leg & (outfit.bottom.kind in ("trousers", "shorts"))


def hair_colour(points: FloatArray, identity: Identity) -> FloatArray:
    """Return the colours (N, 3) of hair, in strands."""
    angle = np.arctan2(points[:, 0], -(points[:, 1] + 0.06))
    strands = 1 + 0.09 * np.sin(angle * 31 + points[:, 2] * 23) + 0.09 * np.sin(angle * 53 + points[:, 2] * 170)
    return np.asarray(identity.hair_rgb * strands[:, None])


def paint(pixels: Pixels, identity: Identity, outfit: Outfit) -> tuple[FloatArray, IntArray]:
    """Return unlit colours (N, 3) and `Label` (N,)."""
    count = len(pixels.layer)
    colour, label = np.zeros((count, 3)), np.full(count, Label.OTHER)
    points, arm = pixels.canonical, pixels.arm
    across = np.where(arm > 0, 1.4 * points[:, 1], around_trunk(points))

    def fill(layers: tuple[Layer, ...]) -> IntArray:
        return np.flatnonzero(np.isin(pixels.layer, layers))

    at = fill((Layer.SKIN,))
    colour[at], label[at] = paint_skin(points[at], identity, outfit)
    under_top, under_trousers = covered(points[at], arm[at], outfit)
    colour[at[under_top]] = cloth_colour(outfit.top.cloth, *(v[at[under_top]] for v in (points, arm, across)))
    label[at[under_top]] = Label.SHIRT
    colour[at[under_trousers]], label[at[under_trousers]] = outfit.bottom.cloth.first_rgb, Label.TROUSERS
    at = fill((Layer.EYE,))
    white = np.abs(np.abs(points[at, 0]) - 0.031) > 0.008
    colour[at] = np.where(white[:, None], 0.7, 0.02)
    label[at] = Label.SKIN
    at = fill((Layer.HAIR, Layer.KNOT))
    colour[at], label[at] = hair_colour(points[at], identity), Label.HAIR
    at = fill((Layer.TOP, Layer.TOP_TUBE))
    colour[at], label[at] = cloth_colour(outfit.top.cloth, points[at], arm[at], across[at]), Label.SHIRT
    below = np.where((pixels.layer[at] == Layer.TOP) & (arm[at] < -0.5), neckline_field(points[at], outfit), 1)
    colour[at[below < COLLAR_WIDTH]] *= 0.6
    bare = at[below < 0]
    colour[bare], label[bare] = identity.skin_rgb, Label.SKIN
    if outfit.bottom.kind == "dress":
        label[at[points[at, 2] < WAIST_LEVEL]] = Label.TROUSERS
    if outfit.bag:
        strap = at[(np.abs(np.abs(points[at, 0]) - 0.115) < 0.018) & (pixels.layer[at] == Layer.TOP) & (arm[at] < 0)]
        colour[strap], label[strap] = outfit.bag_rgb * 0.6, Label.OTHER
    at = fill((Layer.BOTTOM,))
    colour[at], label[at] = (
        cloth_colour(outfit.bottom.cloth, points[at], arm[at], around_leg(points[at])),
        Label.TROUSERS,
    )
    if outfit.tucked:
        belt = at[points[at, 2] > WAIST_LEVEL - 0.03]
        colour[belt] = 0.35 * outfit.shoe_rgb + 0.15 * colour[belt]
    at = fill((Layer.SKIRT,))
    colour[at], label[at] = cloth_colour(outfit.bottom.cloth, points[at], arm[at], across[at]), Label.TROUSERS
    at = fill((Layer.SHOE_LEFT, Layer.SHOE_RIGHT))
    sole = points[at, 2] < SOLE_LEVEL + SOLE_THICKNESS
    colour[at], label[at] = np.where(sole[:, None], outfit.sole_rgb, outfit.shoe_rgb), Label.SHOE
    colour[fill((Layer.BAG,))] = outfit.bag_rgb
    colour[fill((Layer.BRIM,))] = outfit.hat_rgb * 0.8
    return colour, label


def light(pixels: Pixels, camera: Camera, to_light: FloatArray, toward: FloatArray, phase: float) -> FloatArray:
    """Return the light (N,) that falls on the pixels.

    Args:
        pixels: what is lit.
        camera: gives the share of light from everywhere.
        to_light: unit vector to the main light in the body's axes.
        toward: unit vector to the camera in the body's axes.
        phase: shifts the small folds of cloth.
    """
    normal, points = pixels.normal, pixels.canonical
    direct = np.clip((normal @ to_light + 0.25) / 1.25, 0, 1)
    facing = np.clip(normal @ toward, 0, 1)
    everywhere = (0.78 + 0.22 * normal[:, 2]) * (0.72 + 0.28 * facing)
    total = camera.ambient * everywhere + (1.2 - camera.ambient) * direct
    cloth = np.isin(pixels.layer, (Layer.TOP, Layer.BOTTOM, Layer.TOP_TUBE, Layer.SKIRT))
    folds = np.sin(points[:, 2] * 31 + 5 * np.sin(points[:, 0] * 15 + phase)) * np.sin(points[:, 0] * 27 + phase)
    total = total * (1 + 0.09 * cloth * folds)
    shaded = (pixels.layer == Layer.SKIN) & (points[:, 2] < 0.80) & (points[:, 2] > 0.70)
    return np.asarray(total * np.where(shaded, 0.85, 1.0))
