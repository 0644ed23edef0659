"""How cloth hangs: rings of convex hulls around points, each ring held out by the one above it.

Cloth spans hollows (between the breasts, between two striding legs) and falls from what sticks out. Both follow from
support functions: the hull of a union is the maximum, the hang is the maximum with the ring above, a little shrunk.
Knows only points and heights.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from rlq_ray.people.body import FloatArray

NUM_DIRECTIONS = 48
NOTHING = -1e3  # support of a ring that has no points
SINE = np.sin(2 * np.pi * np.arange(NUM_DIRECTIONS) / NUM_DIRECTIONS)
COSINE = np.cos(2 * np.pi * np.arange(NUM_DIRECTIONS) / NUM_DIRECTIONS)


@njit(cache=True)
def ring_supports(points: FloatArray, top: float, bottom: float, num_rings: int) -> FloatArray:
    """Return support values (rings, directions) of points (N, 3) binned by height between `top` and `bottom`.

    Direction k points to angle 2πk / NUM_DIRECTIONS, angle 0 being −y (the front) and π/2 being +x. A point counts
    for the two rings around it, so that sparse points leave no gaps; rings without points are filled from above, else
    from below.
    """
    supports = np.full((num_rings, NUM_DIRECTIONS), NOTHING)
    step = (top - bottom) / (num_rings - 1)
    for i in range(points.shape[0]):
        place = (top - points[i, 2]) / step
        first = math.floor(place)
        for ring in (first, first + 1):
            if ring < 0 or ring >= num_rings:
                continue
            for k in range(NUM_DIRECTIONS):
                value = SINE[k] * points[i, 0] - COSINE[k] * points[i, 1]
                if value > supports[ring, k]:
                    supports[ring, k] = value
    for ring in range(1, num_rings):
        if supports[ring, 0] == NOTHING:
            supports[ring] = supports[ring - 1]
    for ring in range(num_rings - 2, -1, -1):
        if supports[ring, 0] == NOTHING:
            supports[ring] = supports[ring + 1]
    return supports


@njit(cache=True)
def hang(supports: FloatArray, shrink: FloatArray) -> FloatArray:
    """Let each ring reach as far as the one above it minus its `shrink` (rings,) in metres; even out neighbours."""
    hung = supports.copy()
    for ring in range(1, hung.shape[0]):
        for k in range(NUM_DIRECTIONS):
            hung[ring, k] = max(hung[ring, k], hung[ring - 1, k] - shrink[ring])
    even = hung.copy()
    for ring in range(1, hung.shape[0] - 1):
        for k in range(NUM_DIRECTIONS):
            even[ring, k] = 0.25 * hung[ring - 1, k] + 0.5 * hung[ring, k] + 0.25 * hung[ring + 1, k]
    return even


@njit(cache=True)
def ring_outlines(supports: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return ring centres (rings, 2) and radii (rings, directions) of the outlines that the supports describe."""
    num_rings = supports.shape[0]
    half, quarter = NUM_DIRECTIONS // 2, NUM_DIRECTIONS // 4
    centres = np.zeros((num_rings, 2))
    radii = np.zeros((num_rings, NUM_DIRECTIONS))
    for ring in range(num_rings):
        cx = 0.5 * (supports[ring, quarter] - supports[ring, 3 * quarter])
        cy = 0.5 * (supports[ring, half] - supports[ring, 0])
        centres[ring, 0], centres[ring, 1] = cx, cy
        for k in range(NUM_DIRECTIONS):
            radius = 1e9
            for other in range(-quarter + 2, quarter - 1):
                m = (k + other) % NUM_DIRECTIONS
                reach = supports[ring, m] - (SINE[m] * cx - COSINE[m] * cy)
                radius = min(radius, reach / COSINE[other % NUM_DIRECTIONS])
            radii[ring, k] = max(radius, 0.005)
    return centres, radii


@njit(cache=True)
def tube_vertices(centres: FloatArray, radii: FloatArray, heights: FloatArray) -> FloatArray:
    """Return the vertices (rings × directions, 3) of a tube with these outlines."""
    num_rings = radii.shape[0]
    vertices = np.zeros((num_rings * NUM_DIRECTIONS, 3), np.float32)
    for ring in range(num_rings):
        for k in range(NUM_DIRECTIONS):
            at = ring * NUM_DIRECTIONS + k
            vertices[at, 0] = centres[ring, 0] + SINE[k] * radii[ring, k]
            vertices[at, 1] = centres[ring, 1] - COSINE[k] * radii[ring, k]
            vertices[at, 2] = heights[ring]
    return vertices


@njit(cache=True)
def radius_at(centres: FloatArray, radii: FloatArray, place: float, x: float, y: float) -> tuple[float, float, float]:
    """Return centre x, centre y and outline radius at a fractional ring `place`, in the direction of a point (x, y)."""
    first = min(max((math.floor(place)), 0), radii.shape[0] - 2)
    mix = min(max(place - first, 0.0), 1.0)
    cx = (1 - mix) * centres[first, 0] + mix * centres[first + 1, 0]
    cy = (1 - mix) * centres[first, 1] + mix * centres[first + 1, 1]
    turn = math.atan2(x - cx, -(y - cy)) / (2 * math.pi) * NUM_DIRECTIONS
    k = math.floor(turn)
    side = turn - k
    k0, k1 = k % NUM_DIRECTIONS, (k + 1) % NUM_DIRECTIONS
    upper = (1 - side) * radii[first, k0] + side * radii[first, k1]
    lower = (1 - side) * radii[first + 1, k0] + side * radii[first + 1, k1]
    return cx, cy, (1 - mix) * upper + mix * lower


@njit(cache=True)
def fit_to_outline(
    vertices: FloatArray, strength: FloatArray, centres: FloatArray, radii: FloatArray, top: float, bottom: float
) -> FloatArray:
    """Push vertices (N, 3) out to the outline at their height, each as far as its strength in [0, 1]."""
    out = vertices.copy()
    for i in range(vertices.shape[0]):
        if strength[i] <= 0:
            continue
        place = (top - vertices[i, 2]) / (top - bottom) * (radii.shape[0] - 1)
        cx, cy, wanted = radius_at(centres, radii, place, vertices[i, 0], vertices[i, 1])
        dx, dy = vertices[i, 0] - cx, vertices[i, 1] - cy
        radius = math.sqrt(dx * dx + dy * dy) + 1e-9
        gain = 1 + strength[i] * max(wanted / radius - 1, 0)
        out[i, 0], out[i, 1] = cx + gain * dx, cy + gain * dy
    return out
