"""The body model that the package ships: a linear model of MakeHuman bodies, its skeleton and its regions.

Knows nothing of clothes, cameras or files other than its own asset. Units are metres; a resting body faces −y,
its left hand is at +x, z points up.

Places on a body are named by *canonical* coordinates: those of the mean body scaled to one fixed height, the same for
every person. Landmarks: soles −.839, knees −.29, crotch 0, waist .33, shoulders .70, chin .80, eyes .92, crown 1.04.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]
BoolArray = NDArray[np.bool_]

SOLE_LEVEL, CROWN_LEVEL = -0.839, 1.041
SKIN_PART, EYE_PART, CLOTH_PART = 0, 1, 2

# Canonical heights of joints; between them a level is interpolated on each body.
LEVEL_BONES = {
    "foot.L": -0.756,
    "lowerleg01.L": -0.291,
    "upperleg01.L": 0.150,
    "spine03": 0.328,
    "spine02": 0.415,
    "spine01": 0.561,
    "neck01": 0.761,
    "head": 0.875,
}


@dataclass(frozen=True)
class RestBody:
    """One body at rest: vertices (V, 3) and bone heads (bones, 3)."""

    vertices: FloatArray
    bone_heads: FloatArray
    level_heights: FloatArray
    level_names: FloatArray

    def height_of(self, level: float | FloatArray) -> FloatArray:
        """Return the height on this body, in metres, of canonical levels."""
        return np.asarray(np.interp(level, self.level_names, self.level_heights))

    def level_at(self, height: float | FloatArray) -> FloatArray:
        """Return the canonical levels of heights on this body."""
        return np.asarray(np.interp(height, self.level_heights, self.level_names))


@dataclass(frozen=True)
class BodyModel:
    """Mean, principal components and skeleton; build it with `load_body`."""

    mean: FloatArray
    basis: FloatArray
    coefficients: FloatArray
    female: NDArray[np.bool_]
    age: FloatArray
    bone_names: tuple[str, ...]
    bone_parents: IntArray
    faces: IntArray
    face_parts: IntArray
    skin_weights: FloatArray
    skin_bones: IntArray
    joint_vertices: IntArray
    joint_weights: FloatArray

    @property
    def num_bodies(self) -> int:
        """Number of bodies whose coefficients were baked."""
        return len(self.coefficients)

    @property
    def num_vertices(self) -> int:
        """Number of vertices, bone heads not counted."""
        return len(self.mean) - len(self.bone_names)

    @cached_property
    def bone_index(self) -> dict[str, int]:
        """Bone name -> index."""
        return {name: index for index, name in enumerate(self.bone_names)}

    @cached_property
    def canonical_bones(self) -> FloatArray:
        """Bone heads of the mean body in canonical coordinates."""
        return self._canonical(self.mean[self.num_vertices :])

    @cached_property
    def canonical(self) -> FloatArray:
        """Canonical coordinates (V, 3) of the vertices."""
        return self._canonical(self.mean[: self.num_vertices])

    def _canonical(self, points: FloatArray) -> FloatArray:
        skin = self.mean[np.unique(self.faces[self.face_parts == SKIN_PART]), 2]
        scale = (CROWN_LEVEL - SOLE_LEVEL) / (skin.max() - skin.min())
        return ((points - [0, 0, skin.min()]) * scale + [0, 0, SOLE_LEVEL]).astype(np.float32)

    def region(self, *prefixes: str) -> FloatArray:
        """Return how strongly each vertex follows the bones whose names start so, in [0, 1]."""
        bones = [index for index, name in enumerate(self.bone_names) if name.startswith(prefixes)]
        return (self.skin_weights * np.isin(self.skin_bones, bones)).sum(1)

    @cached_property
    def arm_weight(self) -> FloatArray:
        """How far a vertex belongs to an arm or hand."""
        return self.region("upperarm", "lowerarm", "wrist", "finger", "metacarpal")

    @cached_property
    def foot_weight(self) -> FloatArray:
        """How far a vertex belongs to a foot."""
        return self.region("foot", "toe")

    @cached_property
    def arm_position(self) -> FloatArray:
        """Place along the arm: 0 shoulder, 1 elbow, 2 wrist; −1 off the arms."""
        at = {
            name: self.canonical_bones[self.bone_index[f"{name}.L"]] for name in ("upperarm01", "lowerarm01", "wrist")
        }
        points = np.abs(self.canonical) * np.sign(self.canonical) ** [2, 1, 1]
        along = []
        for start, end in (("upperarm01", "lowerarm01"), ("lowerarm01", "wrist")):
            bone = at[end] - at[start]
            along.append((points - at[start]) @ bone / (bone @ bone))
        position = np.where(along[0] < 1, along[0], 1 + along[1])
        return np.where(self.arm_weight > 0.3, position, -1).astype(np.float32)

    def rest(self, row: int) -> RestBody:
        """Return the resting body of one baked row of coefficients."""
        points = self.mean + (self.coefficients[row] @ self.basis).reshape(-1, 3)
        vertices, heads = points[: self.num_vertices], points[self.num_vertices :]
        skin = vertices[np.unique(self.faces[self.face_parts == SKIN_PART]), 2]
        heights = [skin.min(), *(heads[self.bone_index[bone], 2] for bone in LEVEL_BONES), skin.max()]
        levels = [SOLE_LEVEL, *LEVEL_BONES.values(), CROWN_LEVEL]
        return RestBody(vertices.astype(np.float32), heads.astype(np.float64), np.array(heights), np.array(levels))


@lru_cache(maxsize=1)
def load_body() -> BodyModel:
    """Read the packaged asset once per process."""
    with resources.as_file(resources.files("rlq_ray.people") / "assets" / "body.npz") as path, np.load(path) as asset:
        weights = asset["skin_weights"].astype(np.float32)
        return BodyModel(
            mean=asset["mean"].astype(np.float32),
            basis=asset["basis"].astype(np.float32),
            coefficients=asset["coefficients"].astype(np.float32),
            female=asset["female"],
            age=asset["age"],
            bone_names=tuple(str(name) for name in asset["bone_names"]),
            bone_parents=asset["bone_parents"].astype(np.int64),
            faces=asset["faces"].astype(np.int32),
            face_parts=asset["face_parts"],
            skin_weights=weights / weights.sum(1, keepdims=True),
            skin_bones=asset["skin_bones"].astype(np.int32),
            joint_vertices=asset["joint_vertices"].astype(np.int32),
            joint_weights=asset["joint_weights"].astype(np.float32),
        )
