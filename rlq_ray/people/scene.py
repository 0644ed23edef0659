"""Procedural places: a floor, walls and some boxes, seen through the same camera as the person.

Knows nothing of people but where their feet touch the floor. Units metres, colours linear RGB; a scene's floor is
z = 0, its back wall faces −y.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from rlq_ray.people.body import BoolArray, FloatArray

FLOOR_TILE_M, FLOOR_PIXELS = 4.0, 256
WALL_TILE_M, WALL_PIXELS = (12.0, 4.0), (768, 256)  # width, height
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


def _noise(rng: np.random.Generator, shape: tuple[int, int], cell: int) -> FloatArray:
    """Return smooth repeating noise of about unit deviation whose spots are `cell` pixels wide."""
    coarse = rng.normal(0, 1, (max(2, shape[0] // cell), max(2, shape[1] // cell)))
    rows = np.arange(shape[0]) / shape[0] * coarse.shape[0]
    columns = np.arange(shape[1]) / shape[1] * coarse.shape[1]
    r, c = rows.astype(int), columns.astype(int)
    fr, fc = (rows - r)[:, None], (columns - c)[None]
    below = np.roll(coarse, -1, 0)
    left = coarse[r][:, c] * (1 - fr) + below[r][:, c] * fr
    right = np.roll(coarse, -1, 1)[r][:, c] * (1 - fr) + np.roll(below, -1, 1)[r][:, c] * fr
    return np.asarray(left * (1 - fc) + right * fc)


def _tint(rng: np.random.Generator, saturation: float, low: float, high: float) -> FloatArray:
    hue = rng.choice([rng.normal(0.09, 0.03), rng.normal(0.58, 0.04), rng.random()], p=[0.6, 0.3, 0.1])
    srgb = np.array(colorsys.hsv_to_rgb(hue % 1, rng.uniform(0, saturation), rng.uniform(low, high)))
    return np.asarray(srgb**2.2)


def _lines(size: int, period: int, width: int) -> BoolArray:
    return np.arange(size) % period < width


def draw_floor(rng: np.random.Generator, indoor: bool) -> FloatArray:
    """Draw asphalt, paving or indoor tiles."""
    shape = (FLOOR_PIXELS, FLOOR_PIXELS)
    base = _tint(rng, 0.18, 0.45, 0.8) if indoor else _tint(rng, 0.15, 0.38, 0.68)
    light = 1 + 0.05 * _noise(rng, shape, 32) + 0.04 * _noise(rng, shape, 4)
    if indoor or rng.random() < 0.6:
        tile = int(rng.choice([16, 32, 32, 64]))
        per_tile = rng.normal(1, 0.05, (FLOOR_PIXELS // tile, FLOOR_PIXELS // tile))
        light = light * np.kron(per_tile, np.ones((tile, tile)))
        joint = _lines(FLOOR_PIXELS, tile, 2)
        light = light * np.where(joint[:, None] | joint[None], rng.uniform(0.7, 0.9), 1)
        if rng.random() < 0.25:
            board = (np.arange(FLOOR_PIXELS) // tile) % 2
            light = light * np.where(board[:, None] ^ board[None], 0.78, 1)
    else:
        light = light * (1 + 0.10 * rng.normal(0, 1, shape))
    floor = base * light[..., None]
    if not indoor and rng.random() < 0.35:
        floor[:, 100 : 100 + int(rng.integers(6, 30))] = 0.65 * light[:, :1, None]
    return np.clip(floor, 0.01, 1).astype(np.float32)


def draw_wall(rng: np.random.Generator, indoor: bool) -> FloatArray:
    """Draw panels, bricks or shop windows with doors and posters."""
    width, height = WALL_PIXELS
    shape = (height, width)
    base = _tint(rng, 0.22, 0.5, 0.9) if indoor else _tint(rng, 0.3, 0.35, 0.75)
    light = 1 + 0.06 * _noise(rng, shape, 64) + 0.02 * _noise(rng, shape, 6)
    kind = rng.choice(["panel", "brick", "plain"], p=[0.4, 0.2, 0.4] if indoor else [0.35, 0.35, 0.3])
    if kind == "panel":
        gap = (
            _lines(width, int(rng.choice([48, 64, 96])), 2)[None]
            | _lines(height, int(rng.choice([64, 128])), 2)[:, None]
        )
        light = light * np.where(gap, 0.75, 1)
    elif kind == "brick":
        rows = np.arange(height) // 8
        brick = (np.arange(width)[None] + 12 * (rows[:, None] % 2)) // 24
        light = light * (1 + 0.10 * rng.normal(0, 1, (height // 8 + 1, width // 24 + 2))[rows[:, None], brick])
        light = light * np.where((np.arange(height) % 8 < 1)[:, None], 1.15, 1)
    wall = base * light[..., None]
    for _ in range(int(rng.integers(3, 9))):
        _add_opening(wall, rng, indoor)
    skirting = int(rng.integers(4, 14))
    wall[:skirting] = wall[:skirting] * 0.55
    return np.clip(wall, 0.01, 1).astype(np.float32)


def _add_opening(wall: FloatArray, rng: np.random.Generator, indoor: bool) -> None:
    """Paint a window, a door or a poster into a wall texture."""
    width = wall.shape[1]
    kind = rng.choice(["window", "door", "poster"], p=[0.3, 0.35, 0.35] if indoor else [0.55, 0.25, 0.2])
    left = int(rng.integers(0, width - 140))
    span = int(rng.integers(40, 140)) if kind == "window" else int(rng.integers(30, 64))
    low, high = {"window": (int(rng.integers(20, 60)), 170), "door": (0, 140), "poster": (75, 135)}[str(kind)]
    fill = _tint(rng, 0.25, 0.2, 0.5) if kind == "window" else _tint(rng, 0.55, 0.3, 0.8)
    frame = _tint(rng, 0.1, 0.25, 0.9)
    wall[low:high, left : left + span] = frame
    inside = wall[low + 3 : high - 3, left + 3 : left + span - 3]
    slope = np.linspace(0.75, 1.3, inside.shape[0])[:, None, None]
    inside[:] = fill * slope * (1 + 0.12 * _noise(rng, inside.shape[:2], 12)[..., None])
    if kind == "window":
        bars = _lines(inside.shape[1], int(rng.integers(24, 60)), 2)
        inside[:, bars] = frame


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
    strong, dull, dark = _tint(rng, 0.6, 0.25, 0.75), _tint(rng, 0.2, 0.35, 0.8), np.array([0.03, 0.035, 0.045])
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
        haze_rgb=_tint(rng, 0.15, 0.6, 0.85),
    )


@njit(cache=True)
def trace_scene(
    origin: FloatArray,
    rays: FloatArray,
    floor: FloatArray,
    wall: FloatArray,
    walls: tuple[float, float],
    boxes: FloatArray,
    haze: FloatArray,
    feet: FloatArray,
) -> FloatArray:
    """Return the colours (N, 3) that rays (N, 3) from one origin meet.

    Args:
        origin: (3,) the camera's place in the scene.
        rays: (N, 3) of any length.
        floor: texture, see `Scene`.
        wall: texture, see `Scene`.
        walls: y of the back wall, x of the side wall.
        boxes: see `Scene`.
        haze: colour of what is far away.
        feet: (K, 2) where shoes touch the floor: it is darker there.
    """
    out = np.empty(rays.shape, np.float32)
    for i in range(rays.shape[0]):
        dx, dy, dz = rays[i, 0], rays[i, 1], rays[i, 2]
        nearest, what = 60.0, -1
        if dz < -1e-6:
            t = -origin[2] / dz
            if 0 < t < nearest:
                nearest, what = t, 0
        if dy > 1e-6:
            t = (walls[0] - origin[1]) / dy
            if 0 < t < nearest:
                nearest, what = t, 1
        if abs(dx) > 1e-6:
            t = (walls[1] - origin[0]) / dx
            if 0 < t < nearest:
                nearest, what = t, 2
        box, shade = -1, 1.0
        for b in range(boxes.shape[0]):
            near, far, axis = 0.0, nearest, 0
            hit = True
            for k in range(3):
                o = origin[k]
                d = rays[i, k]
                low = boxes[b, 2 * k] if k < 2 else 0.0
                high = boxes[b, 2 * k + 1] if k < 2 else boxes[b, 4]
                if abs(d) < 1e-9:
                    if o < low or o > high:
                        hit = False
                    continue
                t0, t1 = (low - o) / d, (high - o) / d
                if t0 > t1:
                    t0, t1 = t1, t0
                if t0 > near:
                    near, axis = t0, k
                far = min(far, t1)
            if hit and 0 < near < far:
                nearest, what, box = near, 3, b
                shade = 1.15 if axis == 2 else (0.8 if axis == 0 else 1.0)
        x, y, z = origin[0] + nearest * dx, origin[1] + nearest * dy, origin[2] + nearest * dz
        light = 1.0
        row, column = 0, 0
        if what == 0:
            row = (math.floor(y / FLOOR_TILE_M * FLOOR_PIXELS)) % FLOOR_PIXELS
            column = (math.floor(x / FLOOR_TILE_M * FLOOR_PIXELS)) % FLOOR_PIXELS
            light = 1 - 0.25 * math.exp(-max(walls[0] - y, 0.0) / 0.35)
            for k in range(feet.shape[0]):
                away = (x - feet[k, 0]) ** 2 + (y - feet[k, 1]) ** 2
                light *= (1 - 0.50 * math.exp(-away / 0.018)) * (1 - 0.22 * math.exp(-away / 0.18))
        elif what == 1 or what == 2:
            along = x if what == 1 else y
            row = min(max(int(z / WALL_TILE_M[1] * WALL_PIXELS[1]), 0), 1 << 20) % WALL_PIXELS[1]
            column = (math.floor(along / WALL_TILE_M[0] * WALL_PIXELS[0])) % WALL_PIXELS[0]
            light = 0.92 if what == 2 else 1.0
        elif what == 3:
            slats = boxes[box, 8]
            light = shade * (1 - 0.4 * math.exp(-z / 0.12))
            if slats > 0 and ((x + y) / slats) % 1 < 0.15:
                light *= 0.6
            elif slats < 0:
                light *= 1 + 0.35 * math.sin(37 * x + 5 * math.sin(23 * z)) * math.sin(
                    41 * z + 4 * math.sin(29 * (x + y))
                )
        fade = 0.0 if what < 0 else math.exp(-max(nearest - 6.0, 0.0) / 30.0)
        for channel in range(3):
            value = haze[channel]
            if what == 0:
                value = floor[row, column, channel]
            elif what == 1 or what == 2:
                value = wall[row, column, channel]
            elif what == 3:
                value = boxes[box, 5 + channel]
            out[i, channel] = fade * light * value + (1 - fade) * haze[channel]
    return out
