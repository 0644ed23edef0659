"""Procedural floors and walls as textures that repeat. Knows neither places nor cameras. Colours are linear RGB."""

from __future__ import annotations

import colorsys

import numpy as np

from rlq_ray.people.body import BoolArray, FloatArray

FLOOR_TILE_M, FLOOR_PIXELS = 4.0, 256
WALL_TILE_M, WALL_PIXELS = (12.0, 4.0), (768, 256)  # width, height


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cell: int) -> FloatArray:
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


def tint(rng: np.random.Generator, saturation: float, low: float, high: float) -> FloatArray:
    """Draw a building's colour, mostly warm or bluish greys: most saturation, least and most brightness."""
    hue = rng.choice([rng.normal(0.09, 0.03), rng.normal(0.58, 0.04), rng.random()], p=[0.6, 0.3, 0.1])
    srgb = np.array(colorsys.hsv_to_rgb(hue % 1, rng.uniform(0, saturation), rng.uniform(low, high)))
    return np.asarray(srgb**2.2)


def lines(size: int, period: int, width: int) -> BoolArray:
    """Return where (size,) a line of some width lies, all in pixels."""
    return np.arange(size) % period < width


def draw_floor(rng: np.random.Generator, indoor: bool) -> FloatArray:
    """Draw asphalt, paving or indoor tiles."""
    shape = (FLOOR_PIXELS, FLOOR_PIXELS)
    base = tint(rng, 0.18, 0.45, 0.8) if indoor else tint(rng, 0.15, 0.38, 0.68)
    light = 1 + 0.05 * smooth_noise(rng, shape, 32) + 0.04 * smooth_noise(rng, shape, 4)
    if indoor or rng.random() < 0.6:
        tile = int(rng.choice([16, 32, 32, 64]))
        per_tile = rng.normal(1, 0.05, (FLOOR_PIXELS // tile, FLOOR_PIXELS // tile))
        light = light * np.kron(per_tile, np.ones((tile, tile)))
        joint = lines(FLOOR_PIXELS, tile, 2)
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
    base = tint(rng, 0.22, 0.5, 0.9) if indoor else tint(rng, 0.3, 0.35, 0.75)
    light = 1 + 0.06 * smooth_noise(rng, shape, 64) + 0.02 * smooth_noise(rng, shape, 6)
    kind = rng.choice(["panel", "brick", "plain"], p=[0.4, 0.2, 0.4] if indoor else [0.35, 0.35, 0.3])
    if kind == "panel":
        gap = (
            lines(width, int(rng.choice([48, 64, 96])), 2)[None] | lines(height, int(rng.choice([64, 128])), 2)[:, None]
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
    fill = tint(rng, 0.25, 0.2, 0.5) if kind == "window" else tint(rng, 0.55, 0.3, 0.8)
    frame = tint(rng, 0.1, 0.25, 0.9)
    wall[low:high, left : left + span] = frame
    inside = wall[low + 3 : high - 3, left + 3 : left + span - 3]
    slope = np.linspace(0.75, 1.3, inside.shape[0])[:, None, None]
    inside[:] = fill * slope * (1 + 0.12 * smooth_noise(rng, inside.shape[:2], 12)[..., None])
    if kind == "window":
        bars = lines(inside.shape[1], int(rng.integers(24, 60)), 2)
        inside[:, bars] = frame
