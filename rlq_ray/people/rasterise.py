"""Compiled kernels: skinning, vertex normals, z-buffer and gathering of per-pixel values.

Knows only arrays: no body, no clothes, no camera.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from rlq_ray.people.body import FloatArray, IntArray

FAR = 1e9  # depth of a pixel that nothing covers


@njit(cache=True)
def skin_vertices(
    vertices: FloatArray, weights: FloatArray, bones: IntArray, rotations: FloatArray, shifts: FloatArray
) -> FloatArray:
    """Pose vertices (V, 3) by linear blend skinning with K weights per vertex."""
    posed = np.zeros(vertices.shape, np.float32)
    for i in range(vertices.shape[0]):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        for k in range(weights.shape[1]):
            w = weights[i, k]
            if w <= 0:
                continue
            b = bones[i, k]
            for axis in range(3):
                turned = rotations[b, axis, 0] * x + rotations[b, axis, 1] * y + rotations[b, axis, 2] * z
                posed[i, axis] += w * (turned + shifts[b, axis])
    return posed


@njit(cache=True)
def vertex_normals(vertices: FloatArray, faces: IntArray) -> FloatArray:
    """Return unit normals (V, 3), weighted by the area of the faces around a vertex; zero where there is none."""
    normals = np.zeros((vertices.shape[0], 3), np.float32)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in (a, b, c):
            normals[k, 0] += nx
            normals[k, 1] += ny
            normals[k, 2] += nz
    for i in range(normals.shape[0]):
        length = math.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2) + 1e-12
        for axis in range(3):
            normals[i, axis] /= length
    return normals


@njit(cache=True)
def smooth_vertices(vertices: FloatArray, faces: IntArray, rounds: int) -> FloatArray:
    """Move each vertex to the mean of its neighbours, `rounds` times; vertices without a face stay."""
    current = vertices.copy()
    for _ in range(rounds):
        total = np.zeros(vertices.shape, np.float32)
        count = np.zeros(vertices.shape[0], np.float32)
        for f in range(faces.shape[0]):
            for k in range(3):
                a, b = faces[f, k], faces[f, (k + 1) % 3]
                for axis in range(3):
                    total[a, axis] += current[b, axis]
                    total[b, axis] += current[a, axis]
                count[a] += 1
                count[b] += 1
        for i in range(vertices.shape[0]):
            if count[i] > 0:
                for axis in range(3):
                    current[i, axis] = total[i, axis] / count[i]
    return current


@njit(cache=True)
def rasterise(
    points: FloatArray, faces: IntArray, keep: FloatArray, height: int, width: int
) -> tuple[FloatArray, IntArray, FloatArray]:
    """Draw triangles into a z-buffer.

    Args:
        points: (V, 3) x and y in pixels, depth in metres.
        faces: (F, 3) vertex indices.
        keep: (V,) a field whose interpolated value must not be negative for a pixel to be drawn: cuts cloth to length.
        height: of the picture in pixels.
        width: of the picture in pixels.

    Returns:
        Depth (H, W), index of the nearest face or −1 (H, W), its first two barycentric weights (H, W, 2).
    """
    depth = np.full((height, width), np.float32(FAR), np.float32)
    nearest = np.full((height, width), -1, np.int32)
    bary = np.zeros((height, width, 2), np.float32)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        x0, x1 = max(0, (math.ceil(min(ax, bx, cx) - 0.5))), min(width - 1, (math.floor(max(ax, bx, cx) - 0.5)))
        y0, y1 = max(0, (math.ceil(min(ay, by, cy) - 0.5))), min(height - 1, (math.floor(max(ay, by, cy) - 0.5)))
        area = (by - cy) * (ax - cx) + (cx - bx) * (ay - cy)
        if x1 < x0 or y1 < y0 or abs(area) < 1e-9:
            continue
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                px, py = x + 0.5 - cx, y + 0.5 - cy
                wa = ((by - cy) * px + (cx - bx) * py) / area
                wb = ((cy - ay) * px + (ax - cx) * py) / area
                wc = 1 - wa - wb
                if min(wa, wb, wc) < -1e-5 or wa * keep[a] + wb * keep[b] + wc * keep[c] < 0:
                    continue
                z = wa * points[a, 2] + wb * points[b, 2] + wc * points[c, 2]
                if z < depth[y, x]:
                    depth[y, x] = z
                    nearest[y, x] = f
                    bary[y, x, 0] = wa
                    bary[y, x, 1] = wb
    return depth, nearest, bary


@njit(cache=True)
def gather(values: FloatArray, corners: IntArray, bary: FloatArray) -> FloatArray:
    """Interpolate vertex values (V, C) at N pixels with face corners (N, 3) and barycentric weights (N, 2)."""
    out = np.empty((corners.shape[0], values.shape[1]), np.float32)
    for i in range(corners.shape[0]):
        wa, wb = bary[i, 0], bary[i, 1]
        a, b, c = corners[i, 0], corners[i, 1], corners[i, 2]
        for channel in range(values.shape[1]):
            out[i, channel] = wa * values[a, channel] + wb * values[b, channel] + (1 - wa - wb) * values[c, channel]
    return out
