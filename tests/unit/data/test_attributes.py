"""Side files join by value, and say what does not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from rlq_ray.data.attributes import find_masks, join_genders, require_join, side_keys
from rlq_ray.data.layouts.source import SourceImage
from rlq_ray.errors import DataError


def image(source: str, identity: str, split: str = "train") -> SourceImage:
    return SourceImage(Path(source), source, split, identity, identity, 0)


IMAGES = [image("train/003_1.png", "003"), image("train/010_1.png", "010"), image("query/101_1.png", "101", "query")]


def genders(tmp_path: Path, *lines: str, partial: bool = False) -> list[int | None]:
    side_file = tmp_path / "gender.csv"
    side_file.write_text("\n".join(("Category,ID,Gender", *lines)))
    return join_genders(IMAGES, side_file, partial=partial)


@pytest.mark.parametrize("identity", ["3", "003", "p0003", "3.0"])
def test_an_identity_matches_by_value(tmp_path, identity):
    assert genders(tmp_path, f"train,{identity},1", "train,10,0", "test,101,1") == [1, 0, 1]


def test_the_split_decides_between_categories(tmp_path):
    lines = ("train,3,1", "test,3,0", "train,10,0", "train,101,1", "query,101,0")
    assert genders(tmp_path, *lines) == [1, 0, 0]


def test_unknown_identity_names_line_and_value(tmp_path):
    with pytest.raises(DataError, match="line 3: no image has the identity '77'"):
        genders(tmp_path, "train,3,1", "train,77,0")
    assert genders(tmp_path, "train,3,1", "train,77,0", partial=True) == [1, None, None]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("train,3,male",), "line 2: gender 'male' of '3' is unknown"),
        (("train,3,1", "train,3,0"), "contradicts itself on identity '003'"),
    ],
)
def test_bad_genders_are_refused(tmp_path, lines, message):
    with pytest.raises(DataError, match=message):
        genders(tmp_path, *lines)


def test_identities_that_differ_in_zeros_are_refused(tmp_path):
    (tmp_path / "gender.csv").write_text("Category,ID,Gender\ntrain,3,1\n")
    with pytest.raises(DataError, match=r"\['003', '3'\] differ only in leading zeros"):
        join_genders([image("a.png", "3"), image("b.png", "003")], tmp_path / "gender.csv")


def test_join_rate_counts_training_images_and_names_the_first_lacking():
    assert require_join(Path("g.csv"), IMAGES, [True, True, False], partial=False) == 1.0
    with pytest.raises(DataError, match=r"covers 50.0% .* lacks 'train/010_1.png' \(identity '010'\)"):
        require_join(Path("g.csv"), IMAGES, [True, False, True], partial=False)
    assert require_join(Path("g.csv"), IMAGES, [True, False, True], partial=True) == 0.5


def test_side_keys_leave_out_what_two_images_share():
    images = [image("rgb/train/001/a.jpg", "1"), image("rgb/train/002/a.jpg", "2"), image("rgb/train/002/b.jpg", "2")]
    assert list(side_keys(images)) == [
        ("rgb/train/001/a", "rgb/train/001_a", "train/001/a", "train/001_a", "001/a", "001_a"),
        ("rgb/train/002/a", "rgb/train/002_a", "train/002/a", "train/002_a", "002/a", "002_a"),
        ("rgb/train/002/b", "rgb/train/002_b", "train/002/b", "train/002_b", "002/b", "002_b", "b"),
    ]


def test_masks_join_by_stem_and_know_the_faulty_ones(tmp_path):
    for name in ("003_1_shirt", "003_1_pant", "003_1_clothes", "010_1_clothes"):
        (tmp_path / f"{name}.png").touch()
    (tmp_path / "faulty.csv").write_text("010_1\n")
    first, second, third = find_masks(IMAGES, tmp_path)
    assert (first.shirt, first.trousers, first.clothes) == tuple(
        tmp_path / f"003_1_{name}.png" for name in ("shirt", "pant", "clothes")
    )
    assert not first.faulty
    assert dataclasses.astuple(second) == (None, None, tmp_path / "010_1_clothes.png", True)
    assert third is None


def test_masks_refuse_unknown_faulty_stem_and_missing_folder(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        find_masks(IMAGES, tmp_path / "none")
    (tmp_path / "faulty.csv").write_text("003_1\n999_1\n")
    with pytest.raises(DataError, match="line 2: no image is called '999_1'"):
        find_masks(IMAGES, tmp_path)


@pytest.mark.parametrize("place", ["003_1", "train/003_1", "training/003_1", "train-set/003_1"])
def test_masks_may_lie_in_the_folder_of_a_split(tmp_path, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / f"{place}_shirt.png").touch()
    (tmp_path / "faulty.csv").write_text(f"{place}\n\n  \n")
    first, second, _ = find_masks(IMAGES, tmp_path)
    assert first is not None
    assert (first.shirt, first.faulty, second) == (tmp_path / f"{place}_shirt.png", True, None)


def test_masks_of_two_splits_and_one_name_join_neither(tmp_path):
    for split in ("train_a", "train_b"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "003_1_shirt.png").touch()
    assert find_masks(IMAGES, tmp_path) == [None, None, None]


def test_a_list_of_faulty_masks_may_name_one_whose_image_was_left_out(tmp_path):
    (tmp_path / "555_1_shirt.png").touch()
    (tmp_path / "faulty.csv").write_text("555_1\n003_1.png\n")
    (tmp_path / "003_1_clothes.png").touch()
    first, *_ = find_masks(IMAGES, tmp_path)
    assert first is not None
    assert first.faulty


def test_other_parts_of_the_body_are_no_masks_of_clothes(tmp_path):
    for name in ("003_1_full_pant", "003_1_head", "003_1_sil"):
        (tmp_path / f"{name}.png").touch()
    assert find_masks(IMAGES, tmp_path) == [None, None, None]
