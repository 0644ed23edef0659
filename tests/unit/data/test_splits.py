"""Who trains, who validates, and what class numbers mean."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from rlq_ray.data.index import Index, index_from_table
from rlq_ray.data.records import RANGES_SCHEMA
from rlq_ray.data.splits import class_space, evaluation_rows, split_training
from rlq_ray.errors import DataError


def index_of(*rows: tuple[str, str, str, int]) -> Index:
    """Build an index from (split, identity, clothes, camera)."""
    split, identity, clothes, camera = zip(*rows, strict=True)
    table = {"split": split, "identity": identity, "clothes": clothes, "camera": pa.array(camera, pa.int32())}
    table |= {name: np.zeros(len(rows), dtype=np.int32) for name in ("gender", "pose", "height", "width", "shard")}
    table |= {name: pa.repeat(value, len(rows)) for name, value in (("source", "x"), ("mask_faulty", False))}
    table |= {field.name: pa.repeat(pa.scalar(0).cast(field.type), len(rows)) for field in RANGES_SCHEMA}
    return index_from_table(pa.table(table))


def changing(identity: str, split: str = "train") -> list[tuple[str, str, str, int]]:
    return [(split, identity, f"{identity}_a", 0), (split, identity, f"{identity}_b", 1)]


def constant(identity: str) -> list[tuple[str, str, str, int]]:
    return [("train", identity, f"{identity}_a", 0), ("train", identity, f"{identity}_a", 1)]


def same_camera(identity: str) -> list[tuple[str, str, str, int]]:
    return [("train", identity, f"{identity}_a", 0), ("train", identity, f"{identity}_b", 0)]


def test_validation_takes_only_those_who_change_clothes_between_cameras():
    everyone = [*changing("1"), *changing("2"), *changing("3"), *constant("4"), *same_camera("5"), *constant("6")]
    index = index_of(*everyone)
    for seed in range(10):
        split = split_training(index, pose_clusters=15, validation_fraction=0.1, seed=seed)
        kept = set(index.identity[split.validation_rows].tolist())
        assert len(kept) == 2
        assert kept <= {"1", "2", "3"}
        assert set(split.classes.identities) == {"1", "2", "3", "4", "5", "6"} - kept
        assert sorted([*split.train_rows, *split.validation_rows]) == list(range(len(index)))


def test_the_share_and_the_seed_count():
    index = index_of(*(row for number in range(40) for row in changing(f"{number:02d}")))
    first, again, other = (split_training(index, pose_clusters=0, validation_fraction=0.2, seed=s) for s in (1, 1, 2))
    assert len(set(index.identity[first.validation_rows].tolist())) == 8
    np.testing.assert_array_equal(first.validation_rows, again.validation_rows)
    assert not np.array_equal(first.validation_rows, other.validation_rows)


def test_without_clothes_changes_two_cameras_are_enough():
    index = index_of(*constant("1"), *constant("2"), *constant("3"), *constant("4"), ("train", "5", "5", 0))
    split = split_training(index, pose_clusters=0)
    assert set(index.identity[split.validation_rows].tolist()) <= {"1", "2", "3", "4"}


def test_a_split_named_val_is_the_validation():
    index = index_of(*changing("1"), *changing("2"), *changing("9", "val"))
    split = split_training(index, pose_clusters=0, validation_fraction=0.4)
    assert split.validation_rows.tolist() == [4, 5]
    assert split.train_rows.tolist() == [0, 1, 2, 3]


def test_fraction_zero_keeps_nobody():
    index = index_of(*changing("1"), *changing("2"))
    split = split_training(index, pose_clusters=0, validation_fraction=0)
    assert (len(split.train_rows), len(split.validation_rows)) == (4, 0)
    with pytest.raises(DataError, match="no validation identities are kept"):
        evaluation_rows(index, "validation", validation_fraction=0)


def test_too_few_identities_are_refused():
    index = index_of(*changing("1"), *changing("2"), *constant("3"))
    with pytest.raises(DataError, match="3 training identities, 2 of them with matches across cameras, cannot give 2"):
        split_training(index, pose_clusters=0)
    with pytest.raises(DataError, match="no split 'train'"):
        split_training(index_of(*changing("1", "query")), pose_clusters=0)


def test_classes_are_in_order_of_name_and_clothes_know_their_wearer():
    index = index_of(*changing("20"), *changing("10"), ("gallery", "05", "05_x", 0))
    classes = class_space(index, np.arange(4), pose_clusters=15)
    assert classes.identities == ("10", "20")
    assert classes.clothes == ("10_a", "10_b", "20_a", "20_b")
    assert classes.identity_of_clothes == (0, 0, 1, 1)
    assert classes.pose_clusters == 15


def test_clothes_of_two_people_are_refused():
    with pytest.raises(DataError, match="clothes 'coat' belong to several identities"):
        class_space(index_of(("train", "1", "coat", 0), ("train", "2", "coat", 0)), np.arange(2), pose_clusters=0)


def test_evaluation_rows():
    index = index_of(*changing("1"), *changing("2"), *changing("3"), *changing("4"), *changing("8", "query"))
    with pytest.raises(DataError, match="no split 'query' or no split 'gallery'"):
        evaluation_rows(index, "test")
    index = index_of(*changing("1", "query"), *changing("1", "gallery"))
    assert [rows.tolist() for rows in evaluation_rows(index, "test")] == [[0, 1], [2, 3]]
    index = index_of(*(row for name in "123456" for row in changing(name)))
    query_rows, gallery_rows = evaluation_rows(index, "validation", validation_fraction=0.3, seed=5)
    split = split_training(index, pose_clusters=0, validation_fraction=0.3, seed=5)
    np.testing.assert_array_equal(query_rows, split.validation_rows)
    np.testing.assert_array_equal(gallery_rows, split.validation_rows)
