"""Pose vectors against the formula written out, clusters against themselves, files against their round trip."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from rlq_ray.data.poses import (
    fit_pose_clusters,
    pose_vectors,
    read_cluster_csv,
    read_keypoints,
    write_cluster_csv,
)
from rlq_ray.errors import DataError, UsageError

LINES = "0-1, 0-2, 1-3, 2-4, 5-6, 5-7, 7-9, 6-8, 8-10, 11-13, 12-14, 13-15, 14-16"


def slow_vector(keypoints: list[float], height: int, width: int, variant: str) -> list[float]:
    points = [(int(keypoints[3 * j] * 192 / width), int(keypoints[3 * j + 1] * 384 / height)) for j in range(17)]
    lengths, angles = [], []
    for line in LINES.split(", "):
        (x1, y1), (x2, y2) = (points[int(joint)] for joint in line.split("-"))
        lengths.append(math.sqrt((x1 - x2) ** 2 + (y1 - y2) ** 2))
        angles.append(math.degrees(math.atan2(y1 - y2, x1 - x2)))
    coordinates = [value for point in points for value in point]
    return {"R_A": angles, "R_LA": lengths + angles, "R_LAC": coordinates + lengths + angles}[variant]


@pytest.mark.parametrize(("variant", "size"), [("R_A", 13), ("R_LA", 26), ("R_LAC", 60)])
def test_vector_is_the_published_formula(variant, size):
    generator = np.random.default_rng(1)
    sizes = generator.integers(40, 500, (9, 2))
    keypoints = generator.uniform(-3, 120, (9, 51))
    vectors = pose_vectors(keypoints, sizes, variant)
    assert vectors.shape == (9, size)
    slow = [slow_vector(list(keypoints[i]), int(sizes[i, 0]), int(sizes[i, 1]), variant) for i in range(9)]
    np.testing.assert_allclose(vectors, slow, atol=1e-9)


@pytest.mark.parametrize("variant", ["N_LA", "R_L"])
def test_a_variant_that_keypoints_do_not_give_is_refused(variant):
    with pytest.raises(UsageError, match=f"do not give pose variant '{variant}': choose one of R_LA, R_A, R_LAC, or "):
        pose_vectors(np.zeros((1, 51)), np.ones((1, 2), dtype=int), variant)


def test_clusters_separate_what_is_apart_and_repeat_bit_for_bit():
    centres = np.array([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]])
    vectors = np.repeat(centres, 20, axis=0) + np.random.default_rng(0).normal(0, 1, (60, 2))
    clusters = fit_pose_clusters(vectors, variant="R_A", k=3, seed=4)
    labels = clusters.assign(vectors)
    assert sorted(set(labels.tolist())) == [1, 2, 3]
    assert all(len(set(labels[start : start + 20].tolist())) == 1 for start in (0, 20, 40))
    assert fit_pose_clusters(vectors, variant="R_A", k=3, seed=4) == clusters


def test_too_few_poses_are_refused():
    with pytest.raises(DataError, match="1 different poses cannot make 2 clusters"):
        fit_pose_clusters(np.zeros((5, 2)), variant="R_A", k=2)


def test_alphapose_keeps_the_best_person_of_an_image(tmp_path):
    people = [
        {"image_id": "a.jpg", "score": 1.0, "keypoints": [1.0] * 51},
        {"image_id": "a.jpg", "score": 3.0, "keypoints": [3.0] * 51},
        {"image_id": "a.jpg", "score": 2.0, "keypoints": [2.0] * 51},
        {"image_id": "train/b", "score": 0.1, "keypoints": [9.0] * 51},
    ]
    (tmp_path / "k.json").write_text(json.dumps(people))
    found = {name: keypoints.tolist() for name, keypoints in read_keypoints(tmp_path / "k.json").items()}
    assert found == {"a": [3.0] * 51, "train/b": [9.0] * 51}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "is no AlphaPose JSON"),
        ('[{"image_id": "a", "score": 1}]', "is no AlphaPose JSON: KeyError"),
        ('[{"image_id": "a", "score": 1, "keypoints": [1, 2]}]', "'a' has 2 keypoint values, not 51"),
        (f'[{{"image_id": "a", "score": NaN, "keypoints": {[1] * 51}}}]', "is no AlphaPose JSON"),
        (f'[{{"image_id": "a", "score": 1e999, "keypoints": {[1] * 51}}}]', "is no AlphaPose JSON|no number"),
        (f'[{{"image_id": "a", "score": "nan", "keypoints": {[1] * 51}}}]', "'a' has a value that is no number"),
        (f'[{{"image_id": "a", "score": 1, "keypoints": {[1] * 50 + ["x"]}}}]', "is no AlphaPose JSON"),
    ],
)
def test_other_files_are_no_alphapose(tmp_path, text, message):
    (tmp_path / "k.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_keypoints(tmp_path / "k.json")


def test_cluster_csv_round_trip_in_the_authors_format(tmp_path):
    side_file = tmp_path / "poses.csv"
    names = [("train", "003_1"), ("query", "101_1")]
    write_cluster_csv(side_file, names, {"R_LA_15": [15, 0], "R_A_5": [2, 5]})
    assert side_file.read_text() == "Category,Image,R_LA_15,R_A_5\nquery,101_1,0.0,5.0\ntrain,003_1,15.0,2.0\n"
    clusters = {"003_1": 15, "train/003_1": 15, "101_1": 0, "query/101_1": 0}
    assert read_cluster_csv(side_file, variant="R_LA", k=15) == clusters
    assert read_cluster_csv(side_file, variant="R_A", k=5)["query/101_1"] == 5


def test_a_name_that_categories_share_keeps_its_category(tmp_path):
    side_file = tmp_path / "poses.csv"
    side_file.write_text("Category,Image,N_A_5\ntrain,a,1.0\ntest,a,2.0\ntrain,b,3\ntrain,b,3\ntest,b,3\n")
    clusters = {"train/a": 1, "test/a": 2, "train/b": 3, "test/b": 3, "b": 3}
    assert read_cluster_csv(side_file, variant="N_A", k=5) == clusters


def test_the_category_may_be_missing(tmp_path):
    (tmp_path / "poses.csv").write_text("Image,N_LAC_40\na,40.0\n")
    assert read_cluster_csv(tmp_path / "poses.csv", variant="N_LAC", k=40)["a"] == 40


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Category,Image,R_LA_10\n", "has the columns Category, Image, R_LA_10, but Image and R_LA_15 are needed"),
        ("Category,Image,R_LA_15\ntrain,a,16.0\n", "line 2: cluster '16.0' is not a whole number from 0 to 15"),
        ("Category,Image,R_LA_15\ntrain,a,1.5\n", "line 2: cluster '1.5'"),
        ("Category,Image,R_LA_15\ntrain,a,\n", "line 2: cluster ''"),
        ("Category,Image,R_LA_15\ntrain,a\n", "line 2: cluster ''"),
        ("Category,Image,R_LA_15\ntrain,a,1.0\ntrain,a,2.0\n", "line 3: 'a' has two clusters"),
    ],
)
def test_bad_cluster_csv_is_refused(tmp_path, text, message):
    (tmp_path / "poses.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_cluster_csv(tmp_path / "poses.csv", variant="R_LA", k=15)


def test_a_wide_csv_is_not_listed_whole(tmp_path):
    columns = [f"{norm}_{vector}_{k}" for k in range(5, 45, 5) for norm in "RN" for vector in ("LA", "LAC", "A")]
    (tmp_path / "poses.csv").write_text(f"Category,Image,{','.join(columns)}\n")
    with pytest.raises(
        DataError, match=r"R_LA_5, .* …, but Image and R_LA_12 are needed: choose another vari"
    ) as refusal:
        read_cluster_csv(tmp_path / "poses.csv", variant="R_LA", k=12)
    assert "N_A_40" not in str(refusal.value)
