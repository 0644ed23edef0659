"""Procedural places: a floor, a back wall, a side wall and some boxes.

Knows nothing of people. Units metres, colours linear RGB; a scene's floor is z = 0, its back wall faces −y.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rlq_ray.people.body import FloatArray
from rlq_ray.people.textures import draw_floor, draw_wall, tint

MAX_OBJECTS = 8
INDOOR_SHARE = 0.45


@dataclass(frozen=True)
class Scene:
    """One place.

    Attributes:
        floor: texture (FLOOR_PIXELS, FLOOR_PIXELS, 3) that repeats every `FLOOR_TILE_M`.
        wall: texture (height, width, 3) of the walls, lowest row first, that repeats.
        back: distance of the back wall behind the origin.
        side: x of the side wall.
        yaw: how far the place is turned against the camera.
        boxes: (N, 9): x0, x1, y0, y1, height, colour, and the spacing of its slats in metres (0 none, −1 leaves).
        haze_rgb: what far things fade into.
    """

    floor: FloatArray
    wall: FloatArray
    back: float
    side: float
    yaw: float
    boxes: FloatArray
    haze_rgb: FloatArray


def _box(x: float, y: float, size: tuple[float, float, float], rgb: FloatArray, slats: float = 0.0) -> list[float]:
    wide, deep, tall = size
    return [x - wide / 2, x + wide / 2, y - deep / 2, y + deep / 2, tall, *rgb, slats]


def _draw_object(rng: np.random.Generator, indoor: bool, back: float) -> list[list[float]]:
    """Draw a thing that stands behind or beside the person: one or two boxes."""
    kinds = (
        ("cabinet", "bench", "pillar", "planter", "counter")
        if indoor
        else ("car", "planter", "pillar", "kiosk", "fence")
    )
    kind = rng.choice(kinds)
    x, y = rng.uniform(-5, 5), rng.uniform(1.4, max(back, 2))
    strong, dull, dark = tint(rng, 0.6, 0.25, 0.75), tint(rng, 0.2, 0.35, 0.8), np.array([0.03, 0.035, 0.045])
    if kind == "car":
        long, tall = rng.uniform(3.4, 4.6), rng.uniform(0.8, 0.95)
        place = y + 1.5
        return [_box(x, place, (long, 1.7, tall), strong), _box(x, place, (0.55 * long, 1.5, tall + 0.5), dark)]
    if kind == "planter":
        green = np.array([0.06, 0.14, 0.035]) * rng.uniform(0.6, 1.6)
        wide, tall = rng.uniform(0.5, 2.2), rng.uniform(0.3, 0.5)
        return [
            _box(x, y, (wide, 0.5, tall), dull),
            _box(x, y, (0.9 * wide, 0.42, tall + rng.uniform(0.2, 0.9)), green, -1),
        ]
    if kind == "pillar":
        side = rng.uniform(0.12, 0.5)
        return [_box(x, y, (side, side, 3.8), dull)]
    if kind == "fence":
        return [_box(x, y, (rng.uniform(1.5, 4), 0.05, rng.uniform(0.8, 1.2)), dull, rng.uniform(0.08, 0.2))]
    if kind == "bench":
        wide = rng.uniform(1.2, 2)
        return [_box(x, y, (wide, 0.5, 0.45), strong, 0.3), _box(x, y + 0.25, (wide, 0.06, 0.85), strong)]
    size = (rng.uniform(0.6, 1.8), rng.uniform(0.4, 0.8), 1.0 if kind == "counter" else rng.uniform(1.2, 2.4))
    return [_box(x, y, size, strong if rng.random() < 0.5 else dull, rng.choice([0.0, 0.3, 0.5]))]


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draw a street or an indoor place."""
    indoor = bool(rng.random() < INDOOR_SHARE)
    back = float(rng.uniform(1.8, 5) if indoor else rng.uniform(3, 10))
    side = float(rng.choice([-1, 1]) * (rng.uniform(2.5, 5) if indoor else rng.uniform(4, 9)))
    boxes = [box for _ in range(int(rng.integers(3, MAX_OBJECTS))) for box in _draw_object(rng, indoor, back)]
    return Scene(
        floor=draw_floor(rng, indoor),
        wall=draw_wall(rng, indoor),
        back=back,
        side=side,
        yaw=float(rng.normal(0, 0.35)),
        boxes=np.array(boxes),
        haze_rgb=tint(rng, 0.15, 0.6, 0.85),
    )
