"""COCO keypoints of a posed body: where each joint is seen, and whether something hides it."""

from __future__ import annotations

import numpy as np

from rlq_ray.people.body import BodyModel, FloatArray
from rlq_ray.people.camera import View
from rlq_ray.people.rasterise import skin_vertices
from rlq_ray.people.tailoring import Dressed

VISIBLE, HIDDEN = 0.95, 0.25
# How deep a joint of COCO's order lies under its own skin at most: eyes on it, hips far inside.
JOINT_DEPTH_M = np.array(
    [0.04] + [0.05] * 2 + [0.06] * 2 + [0.13] * 2 + [0.09] * 2 + [0.07] * 2 + [0.21] * 2 + [0.11] * 2 + [0.09] * 2
)
CLOTHED = np.array([False] * 5 + [True] * 12)


def joint_scores(
    model: BodyModel, dressed: Dressed, view: View, depth: FloatArray, bones: tuple[FloatArray, FloatArray]
) -> FloatArray:
    """Return x, y in supersampled pixels and score (17, 3); outside the picture counts as hidden.

    Joints are regressed from the naked body, so that cloth does not move them; the depth (H, W) decides what hides
    them. `bones` are the rotations and shifts that posed the body.
    """
    used = model.joint_vertices.reshape(-1)
    posed = skin_vertices(dressed.body.vertices[used], model.skin_weights[used], model.skin_bones[used], *bones)
    weights = model.joint_weights / model.joint_weights.sum(1, keepdims=True)
    joints = np.einsum("jk,jkc->jc", weights, posed.reshape(*model.joint_vertices.shape, 3))
    seen = view.project(joints)
    height, width = view.size
    column, row = np.floor(seen[:, 0]).astype(int), np.floor(seen[:, 1]).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    surface = depth[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    cloth = CLOTHED * (max(dressed.outfit.top.looseness, dressed.outfit.bottom.looseness) + 0.03)
    visible = inside & (seen[:, 2] < surface + JOINT_DEPTH_M + cloth)
    return np.column_stack([seen[:, :2], np.where(visible, VISIBLE, HIDDEN)])
