"""The one mesh that every person is drawn with: skin, two cloth layers, and grids for what hangs free.

Topology, canonical coordinates and skinning are the same for everybody; only positions differ. Layers that hang in the
posed body (top tube, skirt) come last, since their vertices are made after posing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, lru_cache

import numpy as np

from rlq_ray.people.body import CLOTH_PART, EYE_PART, SKIN_PART, BodyModel, FloatArray, IntArray, load_body
from rlq_ray.people.drape import NUM_DIRECTIONS


class Layer(IntEnum):
    """What a face belongs to."""

    SKIN = 0
    EYE = 1
    TOP = 2  # shoulders, chest and sleeves
    BOTTOM = 3  # hips and legs
    HAIR = 4
    KNOT = 5
    BAG = 6
    BRIM = 7
    SHOE_LEFT = 8
    SHOE_RIGHT = 9
    TOP_TUBE = 10  # the top from the armpits to its hem
    SKIRT = 11


HAIR_RINGS, HAIR_TOP, HAIR_BOTTOM = 22, 1.0, 0.46
SHOE_RINGS, SHOE_DIRECTIONS = 12, 16
BLOB_RINGS, BLOB_DIRECTIONS = 9, 16
TUBE_RINGS, TUBE_TOP = 26, 0.56
SKIRT_RINGS, SKIRT_TOP = 20, 0.25
HAIR_TO_BACK = ((0.86, 1.0), (0.64, 0.0))  # (level, weight of the head): hair below the shoulders follows the back


@dataclass(frozen=True)
class Figure:
    """Static tables; V vertices of all layers, the first `num_skinned` of them follow the bones.

    Attributes:
        faces: (F, 3).
        face_layer: (F,) `Layer`.
        vertex_layer: (V,) `Layer`.
        canonical: (V, 3).
        arm_position: (V,) see `BodyModel.arm_position`.
        source: (V,) vertex of the body model that a vertex copies, −1 for grids.
        weights: (num_skinned, 4) with bones (num_skinned, 4).
    """

    faces: IntArray
    face_layer: IntArray
    vertex_layer: IntArray
    canonical: FloatArray
    arm_position: FloatArray
    source: IntArray
    weights: FloatArray
    bones: IntArray
    num_skinned: int

    @cached_property
    def _ranges(self) -> dict[int, slice]:
        ends = np.flatnonzero(np.diff(self.vertex_layer, append=255)) + 1
        starts = np.concatenate([[0], ends[:-1]])
        return {int(self.vertex_layer[a]): slice(int(a), int(b)) for a, b in zip(starts, ends, strict=True)}

    def vertices_of(self, layer: Layer) -> slice:
        """Return the vertex range of a layer."""
        return self._ranges[layer]

    @cached_property
    def skin_and_eyes(self) -> slice:
        """The vertex range of the body itself."""
        return slice(0, self.vertices_of(Layer.TOP).start)


def grid_faces(rings: int, directions: int, closed: bool) -> IntArray:
    """Return triangles of a grid whose vertices are numbered ring by ring; `closed` joins last and first direction."""
    columns = directions if closed else directions - 1
    ring, column = np.meshgrid(np.arange(rings - 1), np.arange(columns), indexing="ij")
    a = ring * directions + column
    b = ring * directions + (column + 1) % directions
    c, d = a + directions, b + directions
    return np.stack([np.stack([a, c, b], -1), np.stack([b, c, d], -1)], 2).reshape(-1, 3).astype(np.int32)


def tube_canonical(levels: FloatArray, directions: int) -> FloatArray:
    """Return canonical coordinates of a tube around the trunk, ring by ring."""
    angle = 2 * np.pi * np.arange(directions) / directions
    ring = np.stack([0.15 * np.sin(angle), -0.03 - 0.15 * np.cos(angle)], 1)
    xy = np.broadcast_to(ring, (len(levels), directions, 2))
    z = np.broadcast_to(levels[:, None, None], (len(levels), directions, 1))
    return np.concatenate([xy, z], 2).reshape(-1, 3).astype(np.float32)


class _Builder:
    """Collects layers."""

    def __init__(self, body: BodyModel) -> None:
        self.body = body
        self.faces: list[IntArray] = []
        self.face_layers: list[IntArray] = []
        self.columns: dict[str, list[np.ndarray]] = {
            key: [] for key in ("layer", "canonical", "arm", "source", "weights", "bones")
        }
        self.count = 0

    def _add(self, layer: IntArray, canonical: FloatArray, arm: FloatArray, source: IntArray) -> None:
        for key, values in (("layer", layer), ("canonical", canonical), ("arm", arm), ("source", source)):
            self.columns[key].append(np.asarray(values))
        self.count += len(canonical)

    def add_part(self, parts: dict[int, Layer]) -> None:
        """Add a copy of some parts of the body mesh."""
        body = self.body
        layer_of = np.zeros(body.num_vertices, np.int64)
        used, faces = [], []
        for part, layer in parts.items():
            part_faces = body.faces[body.face_parts == part]
            vertices = np.unique(part_faces)
            layer_of[vertices] = layer
            used.append(vertices)
            faces.append(part_faces)
            self.face_layers.append(np.full(len(part_faces), layer))
        order = np.concatenate(used)
        renumber = np.full(body.num_vertices, -1)
        renumber[order] = np.arange(len(order)) + self.count
        self.faces.extend(renumber[f] for f in faces)
        self._add(layer_of[order], body.canonical[order], body.arm_position[order], order)
        self.columns["weights"].append(body.skin_weights[order])
        self.columns["bones"].append(body.skin_bones[order])

    def add_grid(
        self, layer: Layer, canonical: FloatArray, faces: IntArray, bones: dict[str, FloatArray | float] | None
    ) -> None:
        """Add a grid; `bones` maps bone name -> weight per vertex, None if the grid is made after posing."""
        count = len(canonical)
        self.faces.append(faces + self.count)
        self.face_layers.append(np.full(len(faces), layer))
        self._add(np.full(count, layer), canonical, np.full(count, -1.0), np.full(count, -1))
        if bones is not None:
            weights, indices = np.zeros((count, 4), np.float32), np.zeros((count, 4), np.int32)
            for k, (name, weight) in enumerate(bones.items()):
                weights[:, k], indices[:, k] = weight, self.body.bone_index[name]
            self.columns["weights"].append(weights)
            self.columns["bones"].append(indices)

    def build(self) -> Figure:
        """Join the layers."""
        join = {key: np.concatenate(values) for key, values in self.columns.items()}
        return Figure(
            faces=np.concatenate(self.faces).astype(np.int32),
            face_layer=np.concatenate(self.face_layers).astype(np.uint8),
            vertex_layer=join["layer"].astype(np.uint8),
            canonical=join["canonical"].astype(np.float32),
            arm_position=join["arm"].astype(np.float32),
            source=join["source"],
            weights=join["weights"].astype(np.float32),
            bones=join["bones"].astype(np.int32),
            num_skinned=len(join["weights"]),
        )


@lru_cache(maxsize=1)
def load_figure() -> Figure:
    """Build the figure of the packaged body once per process."""
    builder = _Builder(load_body())
    builder.add_part({SKIN_PART: Layer.SKIN, EYE_PART: Layer.EYE})
    builder.add_part({CLOTH_PART: Layer.TOP})
    builder.add_part({CLOTH_PART: Layer.BOTTOM})

    levels = np.linspace(HAIR_TOP, HAIR_BOTTOM, HAIR_RINGS)
    hair = tube_canonical(levels, NUM_DIRECTIONS)
    (high, _), (low, _) = HAIR_TO_BACK
    of_head = np.clip((hair[:, 2] - low) / (high - low), 0, 1)
    faces = grid_faces(HAIR_RINGS, NUM_DIRECTIONS, closed=True)
    builder.add_grid(Layer.HAIR, hair, faces, {"head": of_head, "spine01": 1 - of_head})

    blob = np.zeros((BLOB_RINGS * BLOB_DIRECTIONS, 3), np.float32)
    blob[:, 2] = np.repeat(np.linspace(1, -1, BLOB_RINGS), BLOB_DIRECTIONS)
    faces = grid_faces(BLOB_RINGS, BLOB_DIRECTIONS, closed=True)
    for layer, bone in ((Layer.KNOT, "head"), (Layer.BAG, "spine02"), (Layer.BRIM, "head")):
        builder.add_grid(layer, blob, faces, {bone: 1.0})

    shoe = np.zeros((SHOE_RINGS * SHOE_DIRECTIONS, 3), np.float32)
    faces = grid_faces(SHOE_RINGS, SHOE_DIRECTIONS, closed=True)
    for layer, bone in ((Layer.SHOE_LEFT, "foot.L"), (Layer.SHOE_RIGHT, "foot.R")):
        builder.add_grid(layer, shoe, faces, {bone: 1.0})

    for layer, rings, top in ((Layer.TOP_TUBE, TUBE_RINGS, TUBE_TOP), (Layer.SKIRT, SKIRT_RINGS, SKIRT_TOP)):
        canonical = tube_canonical(np.linspace(top, 0, rings), NUM_DIRECTIONS)
        builder.add_grid(layer, canonical, grid_faces(rings, NUM_DIRECTIONS, closed=True), None)
    return builder.build()
