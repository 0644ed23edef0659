from __future__ import annotations

import numpy as np
import pytest

from rlq_ray.people.drape import NUM_DIRECTIONS, fit_to_outline, hang, ring_outlines, ring_supports, tube_vertices

ANGLES = 2 * np.pi * np.arange(NUM_DIRECTIONS) / NUM_DIRECTIONS
NORMALS = np.stack([np.sin(ANGLES), -np.cos(ANGLES)], 1)


def test_supports_are_the_largest_projections() -> None:
    points = np.random.default_rng(0).normal(size=(30, 3))
    points[:, 2] = 0.5
    supports = ring_supports(points, 1.0, 0.0, 3)
    np.testing.assert_allclose(supports[1], (points[:, :2] @ NORMALS.T).max(0))


def test_rings_without_points_take_the_ring_above_else_below() -> None:
    points = np.array([[0.3, 0.1, 0.55]])
    supports = ring_supports(points, 1.0, 0.0, 11)
    assert np.ptp(supports, axis=0).max() == 0


def test_cloth_spans_the_hollow_between_two_legs() -> None:
    circle = 0.08 * NORMALS
    legs = np.concatenate([circle - np.array([0.2, 0]), circle + np.array([0.2, 0])])
    supports = ring_supports(np.column_stack([legs, np.zeros(len(legs))]), 0.1, -0.1, 3)
    centres, radii = ring_outlines(supports)
    np.testing.assert_allclose(centres[1], 0, atol=1e-9)
    assert radii[1, 0] == pytest.approx(0.08, abs=0.004)
    assert radii[1, NUM_DIRECTIONS // 4] == pytest.approx(0.28, abs=1e-6)


def test_cloth_falls_from_what_sticks_out() -> None:
    supports = np.full((6, NUM_DIRECTIONS), 0.1)
    supports[1] = 0.3
    hung = hang(supports, np.full(6, 0.05))
    np.testing.assert_allclose(hung[2:5, 0], [0.25, 0.2, 0.15], atol=1e-9)
    assert hung[0, 0] == 0.1


def test_outline_of_a_shifted_circle() -> None:
    supports = np.tile(0.2 + NORMALS @ [0.05, -0.03], (2, 1))
    centres, radii = ring_outlines(supports)
    np.testing.assert_allclose(centres, [[0.05, -0.03]] * 2, atol=1e-9)
    np.testing.assert_allclose(radii, 0.2, atol=1e-9)
    tube = tube_vertices(centres, radii, np.array([1.0, 0.0]))
    np.testing.assert_allclose(np.hypot(tube[:, 0] - 0.05, tube[:, 1] + 0.03), 0.2, atol=1e-6)


def test_fitting_pushes_out_but_never_in() -> None:
    centres, radii = np.zeros((2, 2)), np.full((2, NUM_DIRECTIONS), 0.2)
    vertices = np.array([[0.1, 0, 0.5], [0.3, 0, 0.5], [0, -0.1, 0.5]])
    fitted = fit_to_outline(vertices, np.array([1, 1, 0.5], np.float32), centres, radii, 1.0, 0.0)
    np.testing.assert_allclose(fitted, [[0.2, 0, 0.5], [0.3, 0, 0.5], [0, -0.15, 0.5]], atol=1e-7)
