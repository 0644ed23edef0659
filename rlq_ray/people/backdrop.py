"""Compiled kernels that see a scene: which surface a ray meets first, and its colour.

Knows nothing of people but where their feet touch the floor. Arrays are those of `scene.Scene`.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from rlq_ray.people.body import FloatArray
from rlq_ray.people.textures import FLOOR_PIXELS, FLOOR_TILE_M, WALL_PIXELS, WALL_TILE_M

NOTHING, FLOOR, BACK_WALL, SIDE_WALL, BOX = -1, 0, 1, 2, 3
REACH = 60.0  # in lengths of a ray; what is farther is haze


@njit(cache=True)
def meet_planes(origin: FloatArray, ray: FloatArray, walls: tuple[float, float]) -> tuple[float, int]:
    """Return how many ray lengths away the nearest of floor and walls is, and which it is."""
    nearest, what = REACH, NOTHING
    if ray[2] < -1e-6:
        t = -origin[2] / ray[2]
        if 0 < t < nearest:
            nearest, what = t, FLOOR
    if ray[1] > 1e-6:
        t = (walls[0] - origin[1]) / ray[1]
        if 0 < t < nearest:
            nearest, what = t, BACK_WALL
    if abs(ray[0]) > 1e-6:
        t = (walls[1] - origin[0]) / ray[0]
        if 0 < t < nearest:
            nearest, what = t, SIDE_WALL
    return nearest, what


@njit(cache=True)
def meet_box(origin: FloatArray, ray: FloatArray, box: FloatArray, limit: float) -> tuple[float, int]:
    """Return how many ray lengths away a box is, and the axis of the side that is met; −1 if beyond `limit`."""
    near, far, side = 0.0, limit, 0
    for axis in range(3):
        low = box[2 * axis] if axis < 2 else 0.0
        high = box[2 * axis + 1] if axis < 2 else box[4]
        if abs(ray[axis]) < 1e-9:
            if origin[axis] < low or origin[axis] > high:
                return -1.0, 0
            continue
        t0, t1 = (low - origin[axis]) / ray[axis], (high - origin[axis]) / ray[axis]
        if t0 > t1:
            t0, t1 = t1, t0
        if t0 > near:
            near, side = t0, axis
        far = min(far, t1)
    if 0 < near < far:
        return near, side
    return -1.0, 0


@njit(cache=True)
def floor_light(x: float, y: float, back: float, feet: FloatArray) -> float:
    """Return how bright the floor is at a point: darker along the back wall and under the feet."""
    light = 1 - 0.25 * math.exp(-max(back - y, 0.0) / 0.35)
    for k in range(feet.shape[0]):
        away = (x - feet[k, 0]) ** 2 + (y - feet[k, 1]) ** 2
        light *= (1 - 0.50 * math.exp(-away / 0.018)) * (1 - 0.22 * math.exp(-away / 0.18))
    return light


@njit(cache=True)
def box_light(x: float, y: float, z: float, side: int, slats: float) -> float:
    """Return how bright a box is at a point: by the side that is seen, its foot, and its slats or leaves."""
    light = 1.15 if side == 2 else (0.8 if side == 0 else 1.0)
    light *= 1 - 0.4 * math.exp(-z / 0.12)
    if slats > 0 and ((x + y) / slats) % 1 < 0.15:
        light *= 0.6
    elif slats < 0:
        light *= 1 + 0.35 * math.sin(37 * x + 5 * math.sin(23 * z)) * math.sin(41 * z + 4 * math.sin(29 * (x + y)))
    return light


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
    colour = np.empty(3)
    for i in range(rays.shape[0]):
        nearest, what = meet_planes(origin, rays[i], walls)
        box, side = -1, 0
        for b in range(boxes.shape[0]):
            t, met = meet_box(origin, rays[i], boxes[b], nearest)
            if t > 0:
                nearest, what, box, side = t, BOX, b, met
        x, y = origin[0] + nearest * rays[i, 0], origin[1] + nearest * rays[i, 1]
        z = origin[2] + nearest * rays[i, 2]
        if what == FLOOR:
            row, column = math.floor(y / FLOOR_TILE_M * FLOOR_PIXELS), math.floor(x / FLOOR_TILE_M * FLOOR_PIXELS)
            colour[:] = floor[row % FLOOR_PIXELS, column % FLOOR_PIXELS]
            light = floor_light(x, y, walls[0], feet)
        elif what in (BACK_WALL, SIDE_WALL):
            along = x if what == BACK_WALL else y
            row, column = int(z / WALL_TILE_M[1] * WALL_PIXELS[1]), math.floor(along / WALL_TILE_M[0] * WALL_PIXELS[0])
            colour[:] = wall[max(row, 0) % WALL_PIXELS[1], column % WALL_PIXELS[0]]
            light = 0.92 if what == SIDE_WALL else 1.0
        elif what == BOX:
            colour[:] = boxes[box, 5:8]
            light = box_light(x, y, z, side, boxes[box, 8])
        else:
            colour[:] = haze
            light = 1.0
        fade = math.exp(-max(nearest - 6.0, 0.0) / 30.0)
        for channel in range(3):
            out[i, channel] = fade * light * colour[channel] + (1 - fade) * haze[channel]
    return out
