"""Compose one frame: dress, pose, look, draw, light, and read off masks and keypoints.

A `Studio` holds what frames of one population share. Every frame is a function of its indices and the seed alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rlq_ray.people.body import FloatArray, RestBody, load_body
from rlq_ray.people.camera import Camera, View, draw_camera, draw_heading, draw_view
from rlq_ray.people.figure import Layer, load_figure
from rlq_ray.people.identity import POPULATION_STREAMS, Identity, Population, draw_identity
from rlq_ray.people.keypoints import joint_scores
from rlq_ray.people.posing import draw_pose, posed_vertices, turn
from rlq_ray.people.presets import Preset
from rlq_ray.people.rasterise import gather, rasterise, vertex_normals
from rlq_ray.people.scene import trace_scene
from rlq_ray.people.shading import Label, Pixels, light, paint
from rlq_ray.people.tailoring import Dressed, dress, smooth_cloth
from rlq_ray.people.wardrobe import draw_outfit

DISPLAY_GAMMA = 2.2


@dataclass(frozen=True)
class Frame:
    """One rendered image with its exact truth.

    Attributes:
        image_HW3: uint8 RGB.
        shirt_HW: bool.
        trousers_HW: bool; skirts and the lower part of dresses count.
        keypoints_J3: COCO-17 x and y in pixels and visibility score in [0, 1].
        gender: 1 male, 0 female.
    """

    image_HW3: NDArray[np.uint8]
    shirt_HW: NDArray[np.bool_]
    trousers_HW: NDArray[np.bool_]
    keypoints_J3: FloatArray
    gender: int


class Studio:
    """Renders one population of one preset and seed; remembers what its frames share."""

    def __init__(self, preset: Preset, population: Population, seed: int) -> None:
        self.preset, self.population, self.seed = preset, population, seed
        self._body, self._figure = load_body(), load_figure()
        self._person = lru_cache(maxsize=2)(self._make_person)
        self._dressed = lru_cache(maxsize=4)(self._make_dressed)
        self._camera = lru_cache(maxsize=preset.cameras)(self._make_camera)

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, POPULATION_STREAMS[self.population], *stream])

    def _make_person(self, identity: int) -> tuple[Identity, RestBody, FloatArray]:
        person = draw_identity(self._body, self.population, self.seed, identity)
        rest = self._body.rest(person.row)
        return person, rest, smooth_cloth(self._figure, rest)

    def _make_dressed(self, identity: int, outfit: int) -> Dressed:
        person, rest, smooth = self._person(identity)
        worn = draw_outfit(self.preset, self.population, self.seed, identity, outfit, person.female)
        return dress(self._body, self._figure, rest, smooth, person, worn)

    def _make_camera(self, camera: int) -> Camera:
        return draw_camera(self.preset, self.population, self.seed, camera)

    def render(self, identity: int, outfit: int, camera: int, frame: int) -> Frame:
        """Render one frame."""
        dressed, seen_by = self._dressed(identity, outfit), self._camera(camera)
        heading = draw_heading(self.preset, self._rng(4, identity, outfit, camera))
        rng = self._rng(5, identity, outfit, camera, frame)
        heading += rng.normal(0, 0.15)
        ripple = float(rng.uniform(0, 6))
        posed, rotations, shifts = posed_vertices(
            self._body, self._figure, dressed, draw_pose(self._body, dressed, rng), ripple
        )
        view = draw_view(self.preset, seen_by, posed[dressed.drawn], heading, rng)
        points = view.project(posed)
        depth, nearest, bary = rasterise(points.astype(np.float32), dressed.faces, dressed.keep, *view.size)
        picture = self._background(view, seen_by, posed, heading, rng)
        labels = np.zeros(view.size, np.uint8)
        rows, columns = np.nonzero(nearest >= 0)
        colour, label = self._person_pixels(
            dressed, posed, view, seen_by, nearest[rows, columns], bary[rows, columns], ripple
        )
        picture[rows, columns], labels[rows, columns] = colour, label
        image, labels = self._develop(picture, seen_by, rng), self._downsample(labels)
        scores = joint_scores(self._body, dressed, view, depth, rotations, shifts)
        scores[:, :2] /= self.preset.supersample
        gender = int(not dressed.identity.female)
        return Frame(image, labels == Label.SHIRT, labels == Label.TROUSERS, scores, gender)

    def _person_pixels(
        self,
        dressed: Dressed,
        posed: FloatArray,
        view: View,
        camera: Camera,
        face: FloatArray,
        bary: FloatArray,
        phase: float,
    ) -> tuple[FloatArray, FloatArray]:
        corners = dressed.faces[face]
        normals = vertex_normals(posed, dressed.faces)
        values = np.concatenate([normals, dressed.canonical, self._figure.arm_position[:, None]], 1)
        found = gather(values, corners, bary)
        toward = -view.to_camera[1]
        normal = found[:, :3] / (np.linalg.norm(found[:, :3], axis=1, keepdims=True) + 1e-9)
        normal *= np.where(normal @ toward < 0, -1, 1)[:, None]
        pixels = Pixels(dressed.face_layer[face], found[:, 3:6], found[:, 6], normal)
        colour, label = paint(pixels, dressed.identity, dressed.outfit)
        to_light = camera.light @ view.tilt.T @ view.to_camera
        return colour * light(pixels, camera, to_light, toward, phase)[:, None], label

    def _background(
        self, view: View, camera: Camera, posed: FloatArray, heading: float, rng: np.random.Generator
    ) -> FloatArray:
        height, width = view.size
        across = (np.arange(width) + 0.5 - width / 2) / view.pixels_per_unit + view.crop_centre[0]
        down = (np.arange(height) + 0.5 - height / 2) / view.pixels_per_unit + view.crop_centre[1]
        rays = np.empty((height, width, 3))
        rays[..., 0], rays[..., 1], rays[..., 2] = across[None], 1.0, -down[:, None]
        scene = camera.scene
        to_scene = turn("z", scene.yaw)
        to_person = turn("z", heading)
        place = np.array([rng.uniform(-1.5, 1.5), rng.uniform(-1.5, 0.4), 0.0])
        floor = posed[:, 2].min()
        origin = view.tilt.T @ np.array([0, -view.distance, 0]) + [0, 0, view.centre[2] - floor]
        feet = []
        for layer in (Layer.SHOE_LEFT, Layer.SHOE_RIGHT):
            shoe = posed[self._figure.vertices_of(layer)].mean(0) - view.centre
            feet.append((to_scene @ to_person @ shoe + place)[:2])
        colours = trace_scene(
            to_scene @ origin + place,
            rays.reshape(-1, 3) @ (to_scene @ view.tilt.T).T,
            scene.floor,
            scene.wall,
            (scene.back, scene.side),
            scene.boxes,
            scene.haze_rgb,
            np.array(feet),
        )
        return colours.reshape(height, width, 3)

    def _develop(self, picture: FloatArray, camera: Camera, rng: np.random.Generator) -> NDArray[np.uint8]:
        s, (height, width) = self.preset.supersample, (self.preset.height, self.preset.width)
        linear = picture.reshape(height, s, width, s, 3).mean((1, 3)) if s > 1 else picture
        exposed = np.clip(linear * camera.gain_rgb * rng.uniform(0.92, 1.1), 0, None)
        exposed = exposed * (1 + exposed / 4) / (1 + exposed)  # soft shoulder instead of clipped lights
        shown = np.clip(1.18 * exposed, 0, 1) ** (camera.contrast / DISPLAY_GAMMA)
        shown = shown + rng.normal(0, camera.noise, shown.shape)
        return (np.clip(shown, 0, 1) * 255 + 0.5).astype(np.uint8)

    def _downsample(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        s = self.preset.supersample
        return labels[s // 2 :: s, s // 2 :: s]


@lru_cache(maxsize=2)
def _studio(preset: Preset, population: Population, seed: int) -> Studio:
    return Studio(preset, population, seed)


def render_frame(
    preset: Preset, *, population: Population, seed: int, identity: int, outfit: int, camera: int, frame: int
) -> Frame:
    """Render one frame; the same arguments always give the same frame.

    Raises:
        ValueError: the population has fewer bodies than `identity` asks for.
    """
    return _studio(preset, population, seed).render(identity, outfit, camera, frame)
