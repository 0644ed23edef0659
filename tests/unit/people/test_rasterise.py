from __future__ import annotations

import numpy as np

from rlq_ray.people.rasterise import FAR, gather, rasterise, skin_vertices, smooth_vertices, vertex_normals

SQUARE = np.array([[2, 2, 5], [10, 2, 5], [2, 10, 5], [10, 10, 5]], np.float32)
FACES = np.array([[0, 1, 2], [1, 3, 2]], np.int32)
KEEP_ALL = np.ones(4, np.float32)


def test_square_covers_exactly_its_pixels() -> None:
    depth, nearest, _ = rasterise(SQUARE, FACES, KEEP_ALL, 12, 14)
    covered = np.zeros((12, 14), bool)
    covered[2:10, 2:10] = True
    assert np.array_equal(nearest >= 0, covered)
    np.testing.assert_allclose(depth[covered], 5, rtol=1e-6)
    assert (depth[~covered] == np.float32(FAR)).all()


def test_nearest_face_wins_whatever_the_order() -> None:
    near = SQUARE.copy()
    near[:, 2] = 3
    points = np.concatenate([near, SQUARE])
    for order in ([FACES, FACES + 4], [FACES + 4, FACES]):
        depth, _, _ = rasterise(points, np.concatenate(order), np.ones(8, np.float32), 12, 14)
        assert np.unique(depth[depth < FAR]).tolist() == [3]


def test_cut_field_removes_its_negative_half() -> None:
    keep = (6 - SQUARE[:, 0]).astype(np.float32)
    _, nearest, _ = rasterise(SQUARE, FACES, keep, 12, 14)
    assert np.nonzero(nearest >= 0)[1].max() == 5


def test_points_outside_the_picture_are_clipped() -> None:
    _, nearest, _ = rasterise(SQUARE - np.array([6, 6, 0], np.float32), FACES, KEEP_ALL, 12, 14)
    assert np.array_equal(nearest >= 0, np.pad(np.ones((4, 4), bool), ((0, 8), (0, 10))))


def test_gather_returns_the_plane_it_was_given() -> None:
    _, nearest, bary = rasterise(SQUARE, FACES, KEEP_ALL, 12, 14)
    rows, columns = np.nonzero(nearest >= 0)
    found = gather(SQUARE, FACES[nearest[rows, columns]], bary[rows, columns])
    np.testing.assert_allclose(found[:, :2], np.stack([columns + 0.5, rows + 0.5], 1), atol=1e-4)


def test_skinning_equals_the_formula() -> None:
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(20, 3)).astype(np.float32)
    bones = rng.integers(0, 5, (20, 4)).astype(np.int32)
    weights = rng.random((20, 4)).astype(np.float32)
    rotations, shifts = rng.normal(size=(5, 3, 3)), rng.normal(size=(5, 3))
    slow = np.einsum("vk,vkij,vj->vi", weights, rotations[bones], vertices) + np.einsum(
        "vk,vki->vi", weights, shifts[bones]
    )
    np.testing.assert_allclose(skin_vertices(vertices, weights, bones, rotations, shifts), slow, atol=1e-5)


def test_normals_of_a_plane() -> None:
    normals = vertex_normals(np.vstack([SQUARE, [0, 0, 0]]).astype(np.float32), FACES)
    np.testing.assert_allclose(normals[:4], [[0, 0, 1]] * 4, atol=1e-6)
    assert not normals[4].any()


def test_smoothing_takes_the_mean_of_the_neighbours() -> None:
    star = np.array([[0, 0, 1], [1, 0, 0], [-1, 1, 0], [-1, -1, 0], [9, 9, 9]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1]], np.int32)
    smooth = smooth_vertices(star, faces, 1)
    np.testing.assert_allclose(smooth[0], star[1:4].mean(0), atol=1e-6)
    np.testing.assert_array_equal(smooth[4], star[4])
