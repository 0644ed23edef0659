"""Dress a resting body: shape the layers of the figure that follow the bones, and say what is cut and what is hidden.

Everything here depends on identity and outfit alone; a dressed figure serves all of their frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rlq_ray.people import accessories
from rlq_ray.people.body import BodyModel, FloatArray, IntArray, RestBody
from rlq_ray.people.drape import NUM_DIRECTIONS, fit_to_outline, hang, ring_outlines, ring_supports
from rlq_ray.people.figure import SKIRT_RINGS, SKIRT_TOP, TUBE_RINGS, TUBE_TOP, Figure, Layer, tube_canonical
from rlq_ray.people.identity import Identity
from rlq_ray.people.rasterise import smooth_vertices, vertex_normals
from rlq_ray.people.wardrobe import Outfit

WAIST_LEVEL = 0.235  # upper edge of trousers
LEG_RINGS, LEG_TOP, LEG_BOTTOM = 24, 0.03, -0.75
NECK_MARGIN = (
    0.02  # cloth reaches so far above the neckline; it is painted as skin there, in finer steps than faces allow
)
CUFF_OVERLAP = 0.05  # how far skin reaches under cloth, so that no gap shows


@dataclass(frozen=True)
class Dressed:
    """A figure at rest in its clothes.

    Attributes:
        rest: (num_skinned, 3) vertices.
        keep: (V,) cut field, see `rasterise`.
        canonical: (V, 3) with the tubes at this outfit's levels.
        faces: (F', 3) the faces that can be seen.
        face_layer: (F',).
        chest: vertices of the top that join its tube, and how strongly each does, in [0, 1].
        trunk: vertices that the top hangs from.
        hips: vertices that a skirt hangs from and that a top must clear.
        drawn: vertices that can be seen.
    """

    body: RestBody
    identity: Identity
    outfit: Outfit
    rest: FloatArray
    keep: FloatArray
    canonical: FloatArray
    faces: IntArray
    face_layer: IntArray
    chest: tuple[IntArray, FloatArray]
    trunk: IntArray
    hips: IntArray
    drawn: IntArray


def leg_axes(model: BodyModel, body: RestBody, side: str, heights: FloatArray) -> FloatArray:
    """Return x and y (N, 2) of the line hip - knee - ankle at some heights."""
    joints = np.stack([body.bone_heads[model.bone_index[f"{b}.{side}"]] for b in ("foot", "lowerleg01", "upperleg01")])
    return np.stack([np.interp(heights, joints[:, 2], joints[:, axis]) for axis in (0, 1)], 1)


def shape_trousers(
    model: BodyModel, body: RestBody, vertices: FloatArray, canonical: FloatArray, outfit: Outfit
) -> FloatArray:
    """Let the trouser layer (N, 3) hang from thighs and calves, each leg around its own axis."""
    shaped = vertices.copy()
    top, bottom = body.height_of(LEG_TOP), body.height_of(LEG_BOTTOM)
    shrink = np.full(LEG_RINGS, (0.02 + 0.7 * outfit.bottom.clinging) * (top - bottom) / (LEG_RINGS - 1))
    strength = np.clip((0.02 - canonical[:, 2]) / 0.12, 0, 1).astype(np.float32)
    for side, sign in (("L", 1), ("R", -1)):
        leg = np.flatnonzero(sign * canonical[:, 0] > 0)
        centred = vertices[leg].astype(np.float64)
        axis = leg_axes(model, body, side, centred[:, 2])
        centred[:, :2] -= axis
        above_foot = (canonical[leg, 2] > LEG_BOTTOM) & (canonical[leg, 2] < LEG_TOP + 0.03)
        supports = hang(ring_supports(centred[above_foot], float(top), float(bottom), LEG_RINGS), shrink)
        centres, radii = ring_outlines(supports + 0.002)
        fitted = fit_to_outline(centred, strength[leg], centres, radii, float(top), float(bottom))
        shaped[leg, :2] = fitted[:, :2] + axis
    return shaped


def cloth_layers(
    model: BodyModel, figure: Figure, body: RestBody, smooth: FloatArray, outfit: Outfit
) -> tuple[FloatArray, FloatArray]:
    """Return the vertices of the shirt and the trouser layer, made from the smoothed cloth mesh."""
    at = figure.vertices_of(Layer.TOP)
    canonical = figure.canonical[at]
    faces = figure.faces[figure.face_layer == Layer.TOP] - at.start
    arm = model.arm_weight[figure.source[at]]
    level = canonical[:, 2]
    normals = vertex_normals(smooth, faces)
    loose = outfit.top.looseness
    cuff = 1 + 0.8 * np.clip(figure.arm_position[at] - 0.4, 0, 1.2)
    off = np.where(arm > 0.3, 0.005 + 0.4 * loose * cuff, 0.007 + 0.35 * loose)
    shirt = smooth + normals * off[:, None]
    hung = shape_trousers(model, body, smooth, canonical, outfit)
    normals = vertex_normals(hung, faces) * np.array([1, 1, 0.1], np.float32)  # width, not length
    off = 0.008 + outfit.bottom.looseness * np.clip((0.25 - level) / 0.4, 0.1, 1)
    if outfit.bottom.kind in ("trousers", "shorts"):
        off = off + 0.07 * outfit.bottom.flare * np.clip(-level / 0.7, 0, 1) ** 2
    return shirt, hung + normals * off[:, None]


def neckline_field(points: FloatArray, outfit: Outfit) -> FloatArray:
    """Return how far canonical points (N, 3) lie below the neckline; far from the neck always positive."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    front = np.clip(-y / 0.05, 0, 1)  # lower in front than at the nape
    level = 0.718 + 0.30 * (y + 0.03) - outfit.top.neckline * front + 7 * x**2
    if outfit.top.v_neck:
        level = level - 0.045 * np.clip(1 - x / 0.05, 0, 1) * front
    return np.asarray(level - z)


def cut_field(figure: Figure, canonical: FloatArray, identity: Identity, outfit: Outfit) -> FloatArray:
    """Return the cut field (V,) of all layers."""
    keep = np.ones(len(canonical), np.float32)
    top, bottom = figure.vertices_of(Layer.TOP), figure.vertices_of(Layer.BOTTOM)
    position = figure.arm_position
    on_arm = position[top] > -1
    trunk = np.minimum(neckline_field(canonical[top], outfit) + NECK_MARGIN, canonical[top, 2] - 0.503)
    keep[top] = np.where(on_arm, (outfit.top.sleeve_end - position[top]) * 0.2, trunk)
    level = canonical[bottom, 2]
    hips = np.minimum(level - outfit.bottom.hem_level, WAIST_LEVEL - level)
    keep[bottom] = np.where(position[bottom] > -1, -1, hips)
    keep[figure.vertices_of(Layer.HAIR)] = accessories.hair_field(canonical[figure.vertices_of(Layer.HAIR)], identity)
    return keep


def face_means(values: FloatArray, corners: IntArray) -> FloatArray:
    """Return the mean (F,) of vertex values (V,) over the corners (F, 3) of each face."""
    return np.asarray((values[corners[:, 0]] + values[corners[:, 1]] + values[corners[:, 2]]) / 3)


def visible_faces(figure: Figure, canonical: FloatArray, identity: Identity, outfit: Outfit) -> FloatArray:
    """Return which faces (F,) can be seen: skin under cloth is left out, so that it cannot show through."""
    layer = figure.face_layer
    corners = figure.faces
    level, arm = face_means(canonical[:, 2], corners), face_means(figure.arm_position, corners)
    skin = layer == Layer.SKIN
    trousers = outfit.bottom.kind in ("trousers", "shorts")
    hem = outfit.bottom.hem_level
    hidden = skin & (arm < -0.5) & (level < 0.57) & (level > -0.02)
    under_top = skin & (level > 0.5) & (level < 0.78) & (neckline_field(canonical, outfit)[corners].min(1) > -0.012)
    hidden |= under_top & (arm < min(0.3, outfit.top.sleeve_end - 0.15))
    hidden |= skin & (arm > 0.12) & (arm < outfit.top.sleeve_end - 0.15)
    hidden |= (
        skin
        & (level <= 0)
        & (level > (hem if trousers else min(hem, -0.1)) + CUFF_OVERLAP + 0.12 * (not trousers))
        & (arm < 0)
    )
    hidden |= skin & (level < -0.79)
    hidden |= (layer == Layer.TOP) & (arm < -0.5) & (level < 0.46)
    worn = {
        Layer.BOTTOM: trousers,
        Layer.HAIR: identity.hair_style in ("bob", "long"),
        Layer.KNOT: identity.hair_style in ("bun", "ponytail"),
        Layer.BAG: outfit.bag,
        Layer.BRIM: outfit.hat == "cap",
        Layer.SKIRT: outfit.bottom.kind == "skirt",
    }
    for part, is_worn in worn.items():
        if not is_worn:
            hidden |= layer == part
    return ~hidden


def tube_levels(body: RestBody, outfit: Outfit) -> dict[Layer, FloatArray]:
    """Return the canonical levels of the rings of the top tube and of the skirt."""
    skirt_hem = outfit.bottom.hem_level if outfit.bottom.kind == "skirt" else SKIRT_TOP - 0.1
    ends = {
        Layer.TOP_TUBE: (TUBE_TOP, outfit.top.hem_level, TUBE_RINGS),
        Layer.SKIRT: (SKIRT_TOP, skirt_hem, SKIRT_RINGS),
    }
    return {
        layer: body.level_at(np.linspace(body.height_of(top), body.height_of(hem), rings))
        for layer, (top, hem, rings) in ends.items()
    }


def smooth_cloth(figure: Figure, body: RestBody) -> FloatArray:
    """Return the cloth mesh of a body without its muscles and folds of skin."""
    at = figure.vertices_of(Layer.TOP)
    faces = figure.faces[figure.face_layer == Layer.TOP] - at.start
    naked = body.vertices[figure.source[at]]
    smooth = smooth_vertices(naked, faces, 4)
    normals = vertex_normals(smooth, faces)
    sunk = np.einsum("ij,ij->i", naked - smooth, normals)  # smoothing shrinks; cloth never lies under the skin
    return np.asarray(smooth + normals * np.maximum(sunk, 0)[:, None], np.float32)


def dress(
    model: BodyModel, figure: Figure, body: RestBody, smooth: FloatArray, identity: Identity, outfit: Outfit
) -> Dressed:
    """Put an outfit on a resting body."""
    canonical = figure.canonical.copy()
    for layer, levels in tube_levels(body, outfit).items():
        canonical[figure.vertices_of(layer)] = tube_canonical(levels, NUM_DIRECTIONS)
    rest = np.zeros((figure.num_skinned, 3), np.float32)
    rest[figure.skin_and_eyes] = accessories.skin_with_hair(figure, body, canonical, identity, outfit)
    shirt, trousers = cloth_layers(model, figure, body, smooth, outfit)
    rest[figure.vertices_of(Layer.TOP)] = shirt
    rest[figure.vertices_of(Layer.BOTTOM)] = trousers
    for layer, vertices, heights in accessories.solid_parts(model, figure, body, rest, identity, outfit):
        rest[figure.vertices_of(layer)] = vertices
        if heights is not None:
            canonical[figure.vertices_of(layer), 2] = heights
    seen = visible_faces(figure, canonical, identity, outfit)
    arm = np.where(figure.source >= 0, model.arm_weight[figure.source], 0)
    keep = cut_field(figure, canonical, identity, outfit)
    drawn = np.flatnonzero(np.bincount(figure.faces[seen].reshape(-1), minlength=len(canonical)))
    join = (
        (figure.vertex_layer == Layer.TOP)
        * np.clip((0.62 - canonical[:, 2]) / 0.09, 0, 1)
        * np.clip(1 - arm / 0.3, 0, 1)
    )
    beside = np.abs(canonical[:, 0])
    join = join * (canonical[:, 2] > 0.42) * np.clip((0.21 - beside) / 0.05, 0, 1)
    of_trunk = (
        (figure.vertex_layer == Layer.TOP) & (arm < 0.15) & (beside < 0.19) & (np.abs(canonical[:, 2] - 0.4) < 0.2)
    )
    lowest = min(outfit.top.hem_level, outfit.bottom.hem_level if outfit.bottom.kind == "skirt" else 1) - 0.06
    of_hips = (
        (figure.vertex_layer == Layer.BOTTOM) & (arm < 0.15) & (canonical[:, 2] > lowest) & (canonical[:, 2] < 0.27)
    )
    return Dressed(
        body=body,
        identity=identity,
        outfit=outfit,
        rest=rest,
        keep=keep,
        canonical=canonical,
        faces=figure.faces[seen],
        face_layer=figure.face_layer[seen],
        chest=(np.flatnonzero(join > 0), join[join > 0].astype(np.float32)),
        trunk=np.flatnonzero(of_trunk),
        hips=np.flatnonzero(of_hips),
        drawn=drawn[keep[drawn] > 0],
    )
