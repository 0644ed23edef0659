"""Cameras, and how one frame is seen: heading, distance, crop.

A camera's values are fixed for a population; a view is drawn per frame. Knows bodies only as points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rlq_ray.people.body import FloatArray
from rlq_ray.people.identity import POPULATION_STREAMS, Population
from rlq_ray.people.posing import turn
from rlq_ray.people.presets import Preset
from rlq_ray.people.scene import Scene, draw_scene

DISPLAY_GAMMA = 2.2  # gains are drawn as they show on a display and applied to linear light


@dataclass(frozen=True)
class Camera:
    """One fixed camera. Angles radians, distances metres, colour gains per linear channel.

    Attributes:
        light: unit vector to the main light, in the camera's upright axes (right, away, up).
        ambient: share of the light that comes from everywhere.
        noise: standard deviation of the sensor's noise.
        contrast: exponent on the finished picture; above 1 is darker.
    """

    elevation: float
    distance: float
    gain_rgb: FloatArray
    light: FloatArray
    ambient: float
    noise: float
    contrast: float
    scene: Scene


@dataclass(frozen=True)
class View:
    """How one frame is seen.

    Attributes:
        to_camera: rotation from the body's axes to the camera's (right, away, up).
        tilt: rotation from upright axes to the camera's.
        centre: point of the body that the camera looks at.
        distance: of the camera from it.
        crop_centre: middle of the picture on the image plane at distance 1.
        pixels_per_unit: pixels of the supersampled picture per unit on that plane.
        size: height and width of the supersampled picture.
    """

    to_camera: FloatArray
    tilt: FloatArray
    centre: FloatArray
    distance: float
    crop_centre: tuple[float, float]
    pixels_per_unit: float
    size: tuple[int, int]

    def project(self, points: FloatArray) -> FloatArray:
        """Return x and y in pixels of the supersampled picture, and depth in metres, of body points (N, 3)."""
        seen = (points - self.centre) @ self.to_camera.T
        depth = self.distance + seen[:, 1]
        height, width = self.size
        x = (seen[:, 0] / depth - self.crop_centre[0]) * self.pixels_per_unit + width / 2
        y = (-seen[:, 2] / depth - self.crop_centre[1]) * self.pixels_per_unit + height / 2
        return np.stack([x, y, depth], 1)

    def rays(self) -> FloatArray:
        """Return the directions (H, W, 3) of all pixels in the camera's axes (right, away, up), 1 away."""
        height, width = self.size
        rays = np.ones((height, width, 3))
        rays[..., 0] = (np.arange(width) + 0.5 - width / 2)[None] / self.pixels_per_unit + self.crop_centre[0]
        rays[..., 2] = -((np.arange(height) + 0.5 - height / 2)[:, None] / self.pixels_per_unit + self.crop_centre[1])
        return rays


def draw_camera(preset: Preset, population: Population, seed: int, index: int) -> Camera:
    """Draw camera `index` of a population; two populations have different cameras."""
    rng = np.random.default_rng([seed, POPULATION_STREAMS[population], 3, index])
    azimuth, height = rng.uniform(-1.2, 1.2), rng.uniform(0.5, 1.2)
    light = np.array([math.cos(height) * math.sin(azimuth), -math.cos(height) * math.cos(azimuth), math.sin(height)])
    return Camera(
        elevation=float(rng.uniform(0.03, 0.42)),
        distance=float(rng.uniform(4, 9)),
        gain_rgb=((1 + rng.normal(0, preset.tint_deviation, 3)) * rng.uniform(*preset.gain_range)) ** DISPLAY_GAMMA,
        light=light,
        ambient=float(rng.uniform(0.5, 0.65)),
        noise=float(rng.uniform(0.004, 0.015)),
        contrast=float(rng.uniform(0.86, 1.14)),
        scene=draw_scene(rng),
    )


def draw_heading(preset: Preset, rng: np.random.Generator) -> float:
    """Draw which way a person faces: 0 towards the camera, π away from it."""
    front, quarter, back = preset.view_probabilities
    facing = rng.choice([0.0, 0.9, -0.9, math.pi], p=[front, quarter / 2, quarter / 2, back])
    return float(facing + rng.normal(0, preset.view_jitter_rad))


def draw_view(preset: Preset, camera: Camera, drawn: FloatArray, heading: float, rng: np.random.Generator) -> View:
    """Frame the visible vertices (N, 3) of a posed body like a detector's box with its errors."""
    tilt = turn("x", camera.elevation + rng.normal(0, 0.02))
    to_camera = tilt @ turn("z", heading)
    columns = drawn.T.copy()  # reductions along contiguous rows are ten times faster
    centre = (columns.min(1) + columns.max(1)) / 2
    distance = float(camera.distance * rng.uniform(0.85, 1.15))
    plain = View(to_camera, tilt, centre, distance, (0.0, 0.0), 1.0, (0, 0))
    seen = plain.project(drawn).T.copy()
    (x0, y0), (x1, y1) = seen[:2].min(1), seen[:2].max(1)
    height, width = preset.height * preset.supersample, preset.width * preset.supersample
    extent = max((y1 - y0) * rng.uniform(1.03, 1.15), (x1 - x0) * 1.03 * height / width)
    middle = ((x0 + x1) / 2 + rng.normal(0, 0.018) * extent, (y0 + y1) / 2 + rng.normal(0, 0.013) * extent)
    return View(to_camera, tilt, centre, distance, middle, height / extent, (height, width))
