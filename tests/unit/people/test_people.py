"""Body, identity, wardrobe and rendered frames: what the data set promises about people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rlq_ray.people.body import CROWN_LEVEL, SOLE_LEVEL, load_body
from rlq_ray.people.dataset import identity_count
from rlq_ray.people.identity import draw_identity, population_rows
from rlq_ray.people.posing import bone_transforms, turn
from rlq_ray.people.presets import PRESETS, Preset
from rlq_ray.people.render import Frame, render_frame
from rlq_ray.people.wardrobe import draw_outfit

NOSE, LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP, LEFT_ANKLE = 0, 5, 6, 11, 12, 15


@pytest.fixture(scope="module")
def front() -> list[Frame]:
    preset = replace(PRESETS["tiny"], view_probabilities=(1.0, 0.0, 0.0), view_jitter_rad=0.0)
    return [
        render_frame(preset, population="target", seed=2, identity=i, outfit=i % 2, camera=i % 8, frame=0)
        for i in range(12)
    ]


def test_bodies_are_adults_of_both_genders() -> None:
    body = load_body()
    assert body.num_bodies >= 1000
    assert body.female.mean() == pytest.approx(0.5, abs=0.01)
    for row in range(0, 1000, 250):
        rest = body.rest(row)
        assert 1.3 < np.ptp(rest.level_heights) < 2.2
        np.testing.assert_allclose(
            rest.level_at(rest.height_of([SOLE_LEVEL, 0.1, CROWN_LEVEL])), [SOLE_LEVEL, 0.1, CROWN_LEVEL]
        )
    np.testing.assert_allclose(body.skin_weights.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(body.joint_weights.sum(1), 1, atol=0.01)


def test_rest_pose_moves_nothing_and_a_turn_moves_only_what_hangs_on_it() -> None:
    body = load_body()
    heads = body.rest(3).bone_heads
    rotations, shifts = bone_transforms(body, heads, {})
    np.testing.assert_allclose(np.einsum("bij,bj->bi", rotations, heads) + shifts, heads)
    elbow, hand = body.bone_index["lowerarm01.L"], body.bone_index["wrist.L"]
    rotations, shifts = bone_transforms(body, heads, {"lowerarm01.L": turn("z", 0.5)})
    moved = np.einsum("bij,bj->bi", rotations, heads) + shifts
    np.testing.assert_allclose(moved[elbow], heads[elbow])
    np.testing.assert_allclose(moved[hand] - heads[elbow], turn("z", 0.5) @ (heads[hand] - heads[elbow]))
    np.testing.assert_allclose(moved[body.bone_index["wrist.R"]], heads[body.bone_index["wrist.R"]])


def test_target_and_external_share_no_body() -> None:
    body = load_body()
    target, external = (population_rows(body, population, 4) for population in ("target", "external"))
    for preset in PRESETS.values():
        counts = identity_count(preset, "target"), identity_count(preset, "external")
        assert not set(target[: counts[0]]) & set(external[: counts[1]])
    for count in (0, 300, 500, 700, 1000):
        assert not set(target[:count]) & set(external[: body.num_bodies - count])
    assert len(set(target)) == len(set(external)) == body.num_bodies
    with pytest.raises(ValueError, match=f"identity {body.num_bodies}: the target population has"):
        draw_identity(body, "target", 4, body.num_bodies)


def test_clothes_are_no_shortcut() -> None:
    preset = PRESETS["default"]
    colours = np.array(
        [
            [draw_outfit(preset, "target", 0, person, outfit, True).top.cloth.first_rgb for outfit in range(2)]
            for person in range(300)
        ]
    )
    correlation = [np.corrcoef(colours[:, 0, channel], colours[:, 1, channel])[0, 1] for channel in range(3)]
    assert np.abs(correlation).max() < 0.2


def test_a_frame_depends_on_its_indices_alone(preset: Preset) -> None:
    def render(identity: int, outfit: int, camera: int, seed: int = 1) -> np.ndarray:
        frame = render_frame(
            preset, population="target", seed=seed, identity=identity, outfit=outfit, camera=camera, frame=0
        )
        return frame.image_HW3

    first = render(0, 0, 0)
    others = [render(0, 1, 0), render(1, 0, 0), render(0, 0, 1), render(0, 0, 0, seed=2)]
    assert np.array_equal(first, render(0, 0, 0))
    assert all(not np.array_equal(first, other) for other in others)


def test_frames_have_the_promised_shapes(front: list[Frame]) -> None:
    for frame in front:
        assert frame.image_HW3.shape == (128, 64, 3)
        assert frame.image_HW3.dtype == np.uint8
        assert frame.shirt_HW.shape == frame.trousers_HW.shape == (128, 64)
        assert frame.keypoints_J3.shape == (17, 3)
        assert 0 <= frame.keypoints_J3[:, 2].min() <= frame.keypoints_J3[:, 2].max() <= 1
    assert {frame.gender for frame in front} == {0, 1}


def test_people_stand_upright_and_face_the_camera(front: list[Frame]) -> None:
    for frame in front:
        joints = frame.keypoints_J3
        assert joints[NOSE, 1] < joints[LEFT_SHOULDER, 1] < joints[LEFT_HIP, 1] < joints[LEFT_ANKLE, 1]
        assert joints[RIGHT_SHOULDER, 0] < joints[LEFT_SHOULDER, 0]
        rows = np.arange(128)[:, None]
        assert (rows * frame.shirt_HW).sum() / frame.shirt_HW.sum() < (
            rows * frame.trousers_HW
        ).sum() / frame.trousers_HW.sum()


def test_joints_under_loose_cloth_are_visible_and_lie_on_the_person(front: list[Frame]) -> None:
    hips = np.array([frame.keypoints_J3[[LEFT_HIP, RIGHT_HIP], 2] for frame in front])
    assert (hips > 0.5).mean() > 0.8
    for frame in front:
        clothed = frame.shirt_HW | frame.trousers_HW
        for x, y, _ in frame.keypoints_J3[[LEFT_SHOULDER, RIGHT_SHOULDER]]:
            assert clothed[max(int(y) - 4, 0) : int(y) + 5, max(int(x) - 4, 0) : int(x) + 5].any()


def test_a_back_view_hides_the_face() -> None:
    preset = replace(PRESETS["tiny"], view_probabilities=(0.0, 0.0, 1.0), view_jitter_rad=0.0)
    scores = [
        render_frame(preset, population="target", seed=2, identity=i, outfit=0, camera=i, frame=0).keypoints_J3[:3, 2]
        for i in range(6)
    ]
    assert (np.array(scores) < 0.5).mean() > 0.9


def test_masks_are_cloth_of_one_outfit_not_the_place() -> None:
    preset = PRESETS["tiny"]
    plain = [
        render_frame(preset, population="target", seed=0, identity=0, outfit=0, camera=camera, frame=0)
        for camera in range(3)
    ]
    share = [(frame.shirt_HW | frame.trousers_HW).mean() for frame in plain]
    assert 0.05 < min(share) < max(share) < 0.5
    border = np.ones((128, 64), bool)
    border[:, 2:-2] = False
    assert not any(((frame.shirt_HW | frame.trousers_HW) & border).sum() > 40 for frame in plain)
