"""Hair, shoes, hats and bags: simple solid shapes fitted to a resting body."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from rlq_ray.people.body import SOLE_LEVEL, BodyModel, FloatArray, RestBody
from rlq_ray.people.drape import NUM_DIRECTIONS, hang, ring_outlines, ring_supports, tube_vertices
from rlq_ray.people.figure import (
    BLOB_DIRECTIONS,
    BLOB_RINGS,
    HAIR_BOTTOM,
    HAIR_RINGS,
    HAIR_TOP,
    SHOE_DIRECTIONS,
    SHOE_RINGS,
    Figure,
    Layer,
)
from rlq_ray.people.identity import Identity
from rlq_ray.people.rasterise import vertex_normals
from rlq_ray.people.wardrobe import Outfit

HAIR_THICKNESS = {
    "bald": 0.0,
    "cropped": 0.005,
    "short": 0.016,
    "bob": 0.017,
    "long": 0.015,
    "bun": 0.009,
    "ponytail": 0.009,
}
HAIR_END = {"bob": 0.76, "long": 0.58}
HAT_LEVEL = 0.955
SOLE_THICKNESS = 0.014


def hairline_field(points: FloatArray) -> FloatArray:
    """Return how far canonical points (N, 3) lie inside the scalp, in metres; negative on face, ears and neck."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    line = np.interp(
        y,
        [-0.18, -0.135, -0.115, -0.085, -0.07, -0.045, -0.01, 0.02],
        [0.992, 0.985, 0.965, 0.955, 0.90, 0.895, 0.83, 0.80],
    )
    ear = np.hypot((y + 0.055) / 0.030, (z - 0.895) / 0.042) - 1
    return np.where(x > 0.066, np.minimum(z - line, 0.03 * ear), z - line)


def hair_field(points: FloatArray, identity: Identity) -> FloatArray:
    """Return the cut field of the hanging hair: its ragged lower edge and the opening for the face."""
    angle = np.arctan2(points[:, 0], -(points[:, 1] + 0.03))
    end = HAIR_END.get(identity.hair_style, 0.9)
    below = points[:, 2] - end - 0.012 * np.sin(angle * 11)
    return np.minimum(below, 0.1 * (np.abs(angle) - 1.32))


def skin_with_hair(
    figure: Figure, body: RestBody, canonical: FloatArray, identity: Identity, outfit: Outfit
) -> FloatArray:
    """Return skin and eye vertices, the scalp raised by the thickness of hair or hat."""
    skin = figure.skin_and_eyes
    vertices = body.vertices[figure.source[skin]]
    faces = figure.faces[figure.face_layer == Layer.SKIN]
    normals = vertex_normals(vertices, faces)
    points = canonical[skin]
    depth = np.clip(hairline_field(points) / 0.035, 0, 1)
    is_head = figure.vertex_layer[skin] == Layer.SKIN
    thickness = HAIR_THICKNESS[identity.hair_style] * identity.hair_thickness
    raised = thickness * np.sqrt(depth) * is_head * (points[:, 2] > 0.78)
    if outfit.hat != "none":
        raised = np.where(points[:, 2] > HAT_LEVEL, np.maximum(raised, 0.014) * is_head, raised)
    if outfit.boot_level is not None:
        calf = (points[:, 2] < outfit.boot_level) & (points[:, 2] > -0.80)
        raised = np.where(calf, 0.009, raised)
    return np.asarray(vertices + normals * raised[:, None], np.float32)


def hanging_hair(figure: Figure, body: RestBody, rest: FloatArray) -> FloatArray:
    """Return the hair grid: a curtain that falls from the head over neck and back."""
    points = figure.canonical[: len(rest)]
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    skin = figure.vertex_layer[: len(rest)] == Layer.SKIN
    of_head = skin & (z > 0.80) & (x < 0.12) & ((x < 0.08) | (z > 0.94) | (y > -0.02))
    of_back = skin & (z <= 0.80) & (z > HAIR_BOTTOM) & (x < 0.12) & (y > -0.03)
    top, bottom = float(body.height_of(HAIR_TOP)), float(body.height_of(HAIR_BOTTOM))
    supports = ring_supports(rest[of_head | of_back].astype(np.float64), top, bottom, HAIR_RINGS)
    supports = hang(supports, np.full(HAIR_RINGS, 0.006)) + 0.007
    centres, radii = ring_outlines(supports)
    angle = 2 * np.pi * np.arange(NUM_DIRECTIONS) / NUM_DIRECTIONS
    radii = radii + 0.003 * np.sin(angle * 13)
    radii[0] *= 0.9
    return tube_vertices(centres, radii, np.linspace(top, bottom, HAIR_RINGS))


def blob(centre: FloatArray, radii: tuple[float, float, float], squareness: float) -> FloatArray:
    """Return a superellipsoid: squareness 1 is an ellipsoid, towards 0 a box."""
    latitude = np.linspace(math.pi / 2, -math.pi / 2, BLOB_RINGS)[:, None]
    longitude = 2 * math.pi * np.arange(BLOB_DIRECTIONS)[None] / BLOB_DIRECTIONS

    def power(values: FloatArray) -> FloatArray:
        return np.sign(values) * np.abs(values) ** squareness

    shape = [
        radii[0] * power(np.cos(latitude)) * power(np.sin(longitude)),
        -radii[1] * power(np.cos(latitude)) * power(np.cos(longitude)),
        radii[2] * power(np.sin(latitude)) * np.ones_like(longitude),
    ]
    return (np.stack(shape, 2).reshape(-1, 3) + centre).astype(np.float32)


def shoe(model: BodyModel, figure: Figure, body: RestBody, side: str) -> tuple[FloatArray, FloatArray]:
    """Return the vertices of a closed shoe around one foot, and their heights above the sole."""
    skin = figure.skin_and_eyes
    source = figure.source[skin]
    on_side = (model.foot_weight[source] > 0.5) & ((model.canonical[source, 0] > 0) == (side == "L"))
    points = body.vertices[source[on_side]]
    floor = body.vertices[:, 2].min()
    ankle = body.bone_heads[model.bone_index[f"foot.{side}"]]
    forward = points[:, :2].mean(0) - ankle[:2]
    forward /= np.linalg.norm(forward)
    sideways = np.array([-forward[1], forward[0]])
    along, across, up = points[:, :2] @ forward, points[:, :2] @ sideways, points[:, 2] - floor
    start, end = along.min() - 0.010, along.max() + 0.016
    places = start + (end - start) * (1 - np.cos(np.linspace(0, np.pi, SHOE_RINGS))) / 2
    section = np.zeros((SHOE_RINGS, 3))
    for ring, place in enumerate(places):
        near = np.abs(along - place) < 0.02
        near = near if near.any() else np.abs(along - place) < np.abs(along - place).min() + 0.01
        cap = min(up[near].max(), 0.075) + 0.010
        section[ring] = across[near].min() - 0.006, across[near].max() + 0.006, max(cap, 0.05)
    section[1:-1] = 0.25 * section[:-2] + 0.5 * section[1:-1] + 0.25 * section[2:]
    round_off = np.sqrt(np.clip(1 - np.abs(2 * (places - start) / (end - start) - 1) ** 5, 0, 1))[:, None]
    angle = 2 * np.pi * np.arange(SHOE_DIRECTIONS)[None] / SHOE_DIRECTIONS
    middle, half = section[:, :2].mean(1)[:, None], 0.5 * (section[:, 1] - section[:, 0])[:, None]
    cosine, sine = np.cos(angle), np.sin(angle)
    breadth = middle + half * round_off * np.sign(cosine) * np.abs(cosine) ** 0.7
    height = np.where(
        sine > 0,
        (section[:, 2:] * (0.35 + 0.65 * round_off)) * np.abs(sine) ** 0.9,
        -SOLE_THICKNESS * np.abs(sine) ** 0.3,
    )
    height = np.where(np.abs(sine) < 1e-6, 0.0, height) + 0.012 * (sine >= 0)
    flat = places[:, None] * forward + 0 * middle
    xy = flat[:, None, :] + breadth[..., None] * sideways
    vertices = np.concatenate([xy, (floor + height)[..., None]], 2).reshape(-1, 3)
    return vertices.astype(np.float32), (SOLE_LEVEL + height).reshape(-1).astype(np.float32)


def near_bone(model: BodyModel, body: RestBody, bone: str, canonical: tuple[float, float, float]) -> FloatArray:
    """Return the place on this body of a canonical point, carried along with a bone."""
    index = model.bone_index[bone]
    return np.asarray(body.bone_heads[index] + (np.array(canonical) - model.canonical_bones[index]) * 0.95)


def solid_parts(
    model: BodyModel, figure: Figure, body: RestBody, rest: FloatArray, identity: Identity, outfit: Outfit
) -> Iterator[tuple[Layer, FloatArray, FloatArray | None]]:
    """Yield (layer, vertices, canonical heights or None) of all solid parts, worn or not."""
    if identity.hair_style in ("bob", "long"):
        yield Layer.HAIR, hanging_hair(figure, body, rest), None
    if identity.hair_style == "bun":
        yield Layer.KNOT, blob(near_bone(model, body, "head", (0, 0.065, 0.985)), (0.045, 0.042, 0.042), 1.0), None
    if identity.hair_style == "ponytail":
        yield Layer.KNOT, blob(near_bone(model, body, "head", (0, 0.085, 0.865)), (0.032, 0.034, 0.125), 0.9), None
    if outfit.bag:
        yield Layer.BAG, blob(near_bone(model, body, "spine02", (0, 0.185, 0.47)), (0.135, 0.08, 0.2), 0.45), None
    if outfit.hat == "cap":
        yield Layer.BRIM, blob(near_bone(model, body, "head", (0, -0.185, 0.968)), (0.068, 0.075, 0.007), 0.8), None
    yield Layer.SHOE_LEFT, *shoe(model, figure, body, "L")
    yield Layer.SHOE_RIGHT, *shoe(model, figure, body, "R")
