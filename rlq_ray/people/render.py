"""Compose one frame: dress, pose, look, draw, light, and read off masks and keypoints.

A `Studio` holds what frames of one population share. Every frame is a function of its indices and the seed alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rlq_ray.people.backdrop import trace_scene
from rlq_ray.people.body import BoolArray, FloatArray, IntArray, RestBody, load_body
from rlq_ray.people.camera import DISPLAY_GAMMA, Camera, View, draw_camera, draw_heading, draw_view
from rlq_ray.people.figure import Layer, load_figure
from rlq_ray.people.identity import POPULATION_STREAMS, Identity, Population, draw_identity
from rlq_ray.people.keypoints import joint_scores
from rlq_ray.people.posing import draw_pose, posed_vertices, turn
from rlq_ray.people.presets import Preset
from rlq_ray.people.rasterise import gather, rasterise, vertex_normals
from rlq_ray.people.shading import Label, Pixels, light, paint
from rlq_ray.people.tailoring import Dressed, dress, smooth_cloth
from rlq_ray.people.wardrobe import draw_outfit

HEADING_STREAM, FRAME_STREAM = 4, 5  # apart from the streams of identities, outfits and cameras
HEADING_JITTER_RAD = 0.15


@dataclass(frozen=True)
class Frame:
    """One rendered image with its exact truth.

    Attributes:
        image_HW3: uint8 RGB.
        label_HW: uint8, what each pixel shows, as a `Label`.
        keypoints_J3: COCO-17 x and y in pixels and visibility score in [0, 1].
        gender: 1 male, 0 female.
    """

    image_HW3: NDArray[np.uint8]
    label_HW: NDArray[np.uint8]
    keypoints_J3: FloatArray
    gender: int

    @property
    def shirt_HW(self) -> NDArray[np.bool_]:
        """Where there is a shirt."""
        return self.label_HW == Label.SHIRT

    @property
    def trousers_HW(self) -> NDArray[np.bool_]:
        """Where there are trousers; skirts and the lower part of dresses count."""
        return self.label_HW == Label.TROUSERS


@dataclass(frozen=True)
class _Moment:
    """A dressed person at one instant, and how the camera sees them."""

    dressed: Dressed
    posed: FloatArray
    rotations: FloatArray
    shifts: FloatArray
    heading: float
    ripple: float
    view: View


class Studio:
    """Renders one population of one preset and seed; remembers what its frames share."""

    def __init__(self, preset: Preset, population: Population, seed: int) -> None:
        self.preset, self.population, self.seed = preset, population, seed
        self._body, self._figure = load_body(), load_figure()
        self._person = lru_cache(maxsize=2)(self._make_person)
        self._dressed = lru_cache(maxsize=4)(self._make_dressed)
        self._camera = lru_cache(maxsize=preset.cameras)(self._make_camera)

    def render(self, identity: int, outfit: int, camera: int, frame: int) -> Frame:
        """Render one frame."""
        seen_by = self._camera(camera)
        rng = self._rng(FRAME_STREAM, identity, outfit, camera, frame)
        moment = self._draw_moment(identity, outfit, camera, seen_by, rng)
        size = moment.view.size
        points = moment.view.project(moment.posed).astype(np.float32)
        depth, nearest, bary = rasterise(points, moment.dressed.faces, moment.dressed.keep, *size)
        picture, labels = np.empty((*size, 3)), np.zeros(size, np.uint8)
        empty = nearest < 0
        picture[empty] = self._background(moment, seen_by, empty, rng)
        picture[~empty], labels[~empty] = self._shade(moment, seen_by, nearest[~empty], bary[~empty])
        keypoints = joint_scores(self._body, moment.dressed, moment.view, depth, (moment.rotations, moment.shifts))
        keypoints[:, :2] /= self.preset.supersample
        labels = labels[self.preset.supersample // 2 :: self.preset.supersample]
        labels = labels[:, self.preset.supersample // 2 :: self.preset.supersample]
        return Frame(
            image_HW3=self._develop(picture, seen_by, rng),
            label_HW=labels,
            keypoints_J3=keypoints,
            gender=int(not moment.dressed.identity.female),
        )

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

    def _draw_moment(
        self, identity: int, outfit: int, camera: int, seen_by: Camera, rng: np.random.Generator
    ) -> _Moment:
        dressed = self._dressed(identity, outfit)
        usual = draw_heading(self.preset, self._rng(HEADING_STREAM, identity, outfit, camera))
        heading = usual + float(rng.normal(0, HEADING_JITTER_RAD))
        ripple = float(rng.uniform(0, 2 * np.pi))
        pose = draw_pose(self._body, dressed, rng)
        posed, rotations, shifts = posed_vertices(self._body, self._figure, dressed, pose, ripple)
        view = draw_view(self.preset, seen_by, posed[dressed.drawn], heading, rng)
        return _Moment(dressed, posed, rotations, shifts, heading, ripple, view)

    def _shade(self, moment: _Moment, camera: Camera, face: IntArray, bary: FloatArray) -> tuple[FloatArray, IntArray]:
        """Return lit colours (N, 3) and labels (N,) where faces (N,) are seen at barycentric weights (N, 2)."""
        dressed, view = moment.dressed, moment.view
        normals = vertex_normals(moment.posed, dressed.faces)
        values = np.concatenate([normals, dressed.canonical, self._figure.arm_position[:, None]], 1)
        found = gather(values, dressed.faces[face], bary)
        toward = -view.to_camera[1]
        normal = found[:, :3] / (np.linalg.norm(found[:, :3], axis=1, keepdims=True) + 1e-9)
        normal *= np.where(normal @ toward < 0, -1, 1)[:, None]
        pixels = Pixels(dressed.face_layer[face], found[:, 3:6], found[:, 6], normal)
        colour, label = paint(pixels, dressed.identity, dressed.outfit)
        to_light = camera.light @ view.tilt.T @ view.to_camera
        return colour * light(pixels, camera, to_light, toward, moment.ripple)[:, None], label

    def _background(self, moment: _Moment, camera: Camera, empty: BoolArray, rng: np.random.Generator) -> FloatArray:
        """Return the place (N, 3) behind the person, who stands somewhere near its origin, at the empty pixels."""
        view, scene = moment.view, camera.scene
        to_scene, to_upright = turn("z", scene.yaw), turn("z", moment.heading)
        place = np.array([rng.uniform(-1.5, 1.5), rng.uniform(-1.5, 0.4), 0.0])
        above_floor = [0, 0, view.centre[2] - moment.posed[:, 2].min()]
        origin = view.tilt.T @ [0, -view.distance, 0] + above_floor
        shoes = (self._figure.vertices_of(layer) for layer in (Layer.SHOE_LEFT, Layer.SHOE_RIGHT))
        feet = np.stack([moment.posed[shoe].mean(0) for shoe in shoes]) - view.centre
        return trace_scene(
            to_scene @ origin + place,
            view.rays()[empty] @ (to_scene @ view.tilt.T).T,
            scene.floor,
            scene.wall,
            (scene.back, scene.side),
            scene.boxes,
            scene.haze_rgb,
            (feet @ (to_scene @ to_upright).T + place)[:, :2],
        )

    def _develop(self, picture: FloatArray, camera: Camera, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Turn linear light (H·s, W·s, 3) into the camera's finished picture (H, W, 3)."""
        s, (height, width) = self.preset.supersample, (self.preset.height, self.preset.width)
        samples = (picture[row::s, column::s] for row in range(s) for column in range(s))
        linear = sum(samples, np.zeros((height, width, 3))) / s**2
        exposed = np.clip(linear * camera.gain_rgb * rng.uniform(0.9, 1.1) ** DISPLAY_GAMMA, 0, None)
        exposed = exposed * (1 + exposed / 4) / (1 + exposed)  # a soft shoulder instead of clipped lights
        shown = np.clip(1.18 * exposed, 0, 1) ** (camera.contrast / DISPLAY_GAMMA)
        shown = shown + rng.normal(0, camera.noise, shown.shape)
        return (np.clip(shown, 0, 1) * 255 + 0.5).astype(np.uint8)


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
