"""Stand and walk: habits and chance -> bone rotations -> posed vertices, then cloth hung on the posed body."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rlq_ray.people.body import BodyModel, FloatArray
from rlq_ray.people.drape import NUM_DIRECTIONS, fit_to_outline, hang, ring_outlines, ring_supports, tube_vertices
from rlq_ray.people.figure import SKIRT_RINGS, SKIRT_TOP, TUBE_RINGS, TUBE_TOP, Figure, Layer
from rlq_ray.people.identity import Identity
from rlq_ray.people.rasterise import skin_vertices
from rlq_ray.people.tailoring import Dressed

Rotations = dict[str, FloatArray]
BACK_BONES = ("spine05", "spine04", "spine03", "spine02", "spine01")
ARM_DROP = 0.62  # from the resting body's spread arms to hanging ones
SHOULDER_DROP = 0.14  # the shoulder's own share of that
WALKING_SHARE = 0.8
HIP_LEVEL = 0.10
LIFTED_ARM_SHARE = 0.06  # a telephone, a strap


def turn(axis: str, angle: float) -> FloatArray:
    """Return the rotation about axis x, y or z."""
    c, s = math.cos(angle), math.sin(angle)
    if axis == "x":
        return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    if axis == "y":
        return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def turn_about(axis: FloatArray, angle: float) -> FloatArray:
    """Return the rotation about any axis."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross)


def elbow_turn(model: BodyModel, dressed: Dressed, side: str, bend: float) -> FloatArray:
    """Return the rotation that gives an elbow this bend in radians; at rest it is bent already."""
    heads = dressed.body.bone_heads
    shoulder, elbow, wrist = (
        heads[model.bone_index[f"{name}.{side}"]] for name in ("upperarm01", "lowerarm01", "wrist")
    )
    upper, lower = elbow - shoulder, wrist - elbow
    at_rest = math.acos(float(upper @ lower / (np.linalg.norm(upper) * np.linalg.norm(lower))))
    return turn_about(np.cross(upper, lower), bend - at_rest)


def draw_pose(model: BodyModel, dressed: Dressed, rng: np.random.Generator) -> Rotations:
    """Draw one moment of a person standing or walking in their own way."""
    person: Identity = dressed.identity
    walking = rng.random() < WALKING_SHARE
    phase = rng.uniform(0, 2 * math.pi)
    amplitude = (rng.uniform(0.14, 0.36) if walking else rng.uniform(0, 0.07)) * person.stride
    swing = math.sin(phase)
    back = person.stoop + rng.normal(0, 0.025)
    pose: Rotations = {}
    for bone in BACK_BONES:
        pose[bone] = turn("x", back / 2.5) @ turn("z", -swing * amplitude * 0.06) @ turn("y", rng.normal(0, 0.008))
    pose["neck01"] = turn("x", -0.4 * back + rng.normal(0, 0.05))
    pose["head"] = turn("z", rng.normal(0, 0.25)) @ turn("x", person.head_tilt + rng.normal(0, 0.08))
    for side, sign in (("L", 1), ("R", -1)):
        leg = sign * swing * amplitude
        bend = 0.05 + amplitude * (0.15 + 0.95 * max(0.0, -math.sin(phase + (0 if sign > 0 else math.pi) + 0.6)))
        pose[f"upperleg01.{side}"] = (
            turn("x", -leg) @ turn("y", sign * (0.10 + rng.normal(0, 0.015))) @ turn("z", sign * person.toe_out)
        )
        pose[f"lowerleg01.{side}"] = turn("x", bend)
        pose[f"foot.{side}"] = turn("x", 0.5 * leg - 0.5 * bend)
        pose[f"shoulder01.{side}"] = turn("y", sign * SHOULDER_DROP)
        drop = sign * (ARM_DROP - SHOULDER_DROP - person.arm_spread + rng.normal(0, 0.04))
        pose[f"upperarm01.{side}"] = turn("x", 0.9 * leg + rng.normal(0, 0.06)) @ turn("y", drop)
        elbow = person.elbow_bend + rng.normal(0, 0.08) + 0.5 * max(0.0, -leg)
        if rng.random() < LIFTED_ARM_SHARE:
            elbow = rng.uniform(1.2, 2.1)
        pose[f"lowerarm01.{side}"] = elbow_turn(model, dressed, side, max(elbow, 0.04))
        for finger in range(2, 6):
            for joint in (1, 2, 3):
                pose[f"finger{finger}-{joint}.{side}"] = turn("y", sign * 0.22)
    return pose


def bone_transforms(model: BodyModel, bone_heads: FloatArray, pose: Rotations) -> tuple[FloatArray, FloatArray]:
    """Return world rotations (bones, 3, 3) and shifts (bones, 3) of a pose about the resting bone heads."""
    count = len(model.bone_names)
    rotations, shifts = np.zeros((count, 3, 3)), np.zeros((count, 3))
    for bone, name in enumerate(model.bone_names):
        parent = model.bone_parents[bone]
        rotation, shift = (rotations[parent], shifts[parent]) if parent >= 0 else (np.eye(3), np.zeros(3))
        local = pose.get(name)
        if local is None:
            rotations[bone], shifts[bone] = rotation, shift
        else:
            head = bone_heads[bone]
            rotations[bone], shifts[bone] = rotation @ local, rotation @ (head - local @ head) + shift
    return rotations, shifts


@dataclass(frozen=True)
class Tube:
    """Outlines of a hanging cloth, see `drape.ring_outlines`, and the heights of its rings."""

    centres: FloatArray
    radii: FloatArray
    heights: FloatArray

    def vertices(self) -> FloatArray:
        """Return the vertices, ring by ring."""
        return np.asarray(tube_vertices(self.centres, self.radii, self.heights))


def hang_skirt(dressed: Dressed, points: FloatArray, ripple: float) -> Tube:
    """Hang the skirt over posed hips and legs (N, 3): the hull of both legs at each height, flared."""
    bottom = dressed.outfit.bottom
    top, hem = (float(dressed.body.height_of(level)) for level in (SKIRT_TOP, bottom.hem_level))
    heights = np.linspace(top, hem, SKIRT_RINGS)
    supports = ring_supports(points, top, hem, SKIRT_RINGS)
    supports = hang(supports, np.full(SKIRT_RINGS, (0.01 + 0.07 * bottom.clinging) * (top - hem) / (SKIRT_RINGS - 1)))
    drop = (top - heights)[:, None]
    supports = supports + 0.005 + bottom.looseness * np.clip(drop / 0.2, 0, 1) + 0.45 * bottom.flare * drop
    return _rippled(supports, heights, drop, 0.02 + 0.10 * bottom.flare, ripple)


def hang_top(dressed: Dressed, points: FloatArray, ripple: float) -> Tube:
    """Hang the top from armpits to hem over the posed points (N, 3) that it must cover."""
    outfit = dressed.outfit
    top, hem = (float(dressed.body.height_of(level)) for level in (TUBE_TOP, outfit.top.hem_level))
    heights = np.linspace(top, hem, TUBE_RINGS)
    supports = ring_supports(points, top, hem, TUBE_RINGS)
    below_hips = heights < dressed.body.height_of(HIP_LEVEL)  # there even a tight dress or coat falls straight
    slope = np.where(below_hips, 0.03, 0.10 + 0.9 * outfit.top.clinging)
    supports = hang(supports, slope * (top - hem) / (TUBE_RINGS - 1))
    drop = (top - heights)[:, None]
    supports = supports + 0.003 + outfit.top.looseness * np.clip(drop / 0.3, 0, 1)
    if outfit.bottom.kind == "dress":
        supports = supports + 0.4 * outfit.bottom.flare * np.clip(drop - 0.38, 0, None)
    supports = supports - 0.005 * np.clip(1 - drop / 0.055, 0, 1)  # the upper edge starts inside the chest
    return _rippled(supports, heights, drop, 0.012 + 0.5 * outfit.top.looseness, ripple)


def _rippled(supports: FloatArray, heights: FloatArray, drop: FloatArray, depth: float, ripple: float) -> Tube:
    centres, radii = ring_outlines(supports)
    angle = 2 * math.pi * np.arange(NUM_DIRECTIONS)[None] / NUM_DIRECTIONS
    waves = np.sin(7 * angle + ripple + 2 * drop) + 0.6 * np.sin(11 * angle - 2 * ripple)
    radii = radii * (1 + 0.6 * depth * waves * np.clip(drop / 0.5, 0, 1))
    return Tube(centres, radii, heights)


def posed_vertices(
    model: BodyModel, figure: Figure, dressed: Dressed, pose: Rotations, ripple: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return all vertices of the figure (V, 3) in a pose, and the bone rotations and shifts that gave them."""
    rotations, shifts = bone_transforms(model, dressed.body.bone_heads, pose)
    posed = np.zeros((len(figure.canonical), 3), np.float32)
    posed[: figure.num_skinned] = skin_vertices(dressed.rest, figure.weights, figure.bones, rotations, shifts)
    hips = posed[dressed.hips].astype(np.float64)
    under_top = [posed[dressed.trunk].astype(np.float64), hips]
    if dressed.outfit.bottom.kind == "skirt":
        skirt = hang_skirt(dressed, hips, ripple).vertices()
        posed[figure.vertices_of(Layer.SKIRT)] = skirt
        under_top[1] = skirt.astype(np.float64)
    tube = hang_top(dressed, np.concatenate(under_top), ripple)
    posed[figure.vertices_of(Layer.TOP_TUBE)] = tube.vertices()
    chest, strength = dressed.chest
    top, hem = float(tube.heights[0]), float(tube.heights[-1])
    posed[chest] = fit_to_outline(posed[chest].astype(np.float64), strength, tube.centres, tube.radii, top, hem)
    return posed, rotations, shifts
