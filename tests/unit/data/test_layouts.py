"""Layouts: labels come from file names alone."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlq_ray.data.layouts import read_layout
from rlq_ray.errors import DataError, UsageError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_unknown_layout_and_missing_root_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no layout 'ltc': choose one of celeb, generic, ltcc"):
        read_layout("ltc", tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        read_layout("ltcc", tmp_path / "nowhere")


def test_ltcc_parses_the_name_below_a_folder_that_looks_like_a_camera(tmp_path):
    root = tmp_path / "re_cc" / "012_3_c9_000001"
    base = root / "LTCC_ReID"
    touch(
        base, "train/000_2_c8_001135.png", "train/Thumbs.db", "query/094_1_c12_000002.png", "test/094_2_c1_000003.png"
    )
    expected = [
        ("train/000_2_c8_001135.png", "train", "000", "000_2", 7),
        ("query/094_1_c12_000002.png", "query", "094", "094_1", 11),
        ("test/094_2_c1_000003.png", "gallery", "094", "094_2", 0),
    ]
    for given in (root, base):
        images = read_layout("ltcc", given)
        assert [(i.source, i.split, i.identity, i.clothes, i.camera) for i in images] == expected


def test_ltcc_lists_in_order_of_name(tmp_path):
    names = [f"train/{pid:03d}_1_c1_000001.png" for pid in (5, 1, 3)]
    touch(tmp_path, *names, "query/000_1_c1_000001.png", "test/000_1_c1_000002.png")
    images = read_layout("ltcc", tmp_path)
    assert [i.source for i in images if i.split == "train"] == sorted(names)


def test_ltcc_refuses_other_names_and_folders(tmp_path):
    with pytest.raises(DataError, match="has no folders train, query, test"):
        read_layout("ltcc", tmp_path)
    touch(tmp_path, "train/0002_c1s1_000451_03.png", "query/x", "test/x")
    with pytest.raises(DataError, match=r"'0002_c1s1_000451_03.png' .* is not named PID_CLOTH_cCAM_FRAME.png"):
        read_layout("ltcc", tmp_path)


def test_market_drops_junk_and_keeps_distractors(tmp_path):
    touch(
        tmp_path,
        "bounding_box_train/0002_c1s1_000451_03.jpg",
        "query/0003_c6s1_000001_00.jpg",
        "bounding_box_test/-1_c1s1_000401_03.jpg",
        "bounding_box_test/0000_c2s1_000451_03.jpg.jpg",
    )
    images = read_layout("market1501", tmp_path)
    assert [(i.split, i.identity, i.clothes, i.camera) for i in images] == [
        ("train", "0002", "0002", 0),
        ("query", "0003", "0003", 5),
        ("gallery", "0000", "0000", 1),
    ]


@pytest.mark.parametrize(
    ("layout", "name", "labels"),
    [
        ("celeb", "12_301_0.jpg", ("12", "12_train_301", 3)),
        ("vc-clothes", "0012-04-02-31.jpg", ("0012", "0012_02", 3)),
    ],
)
def test_flat_layouts(tmp_path, layout, name, labels):
    touch(tmp_path, f"train/{name}", "query/x.txt", "gallery/x.txt")
    (image,) = read_layout(layout, tmp_path)
    assert (image.split, image.identity, image.clothes, image.camera) == ("train", *labels)
    touch(tmp_path, "query/other.jpg")
    with pytest.raises(DataError, match=r"'other\.jpg' .* is not named PID"):
        read_layout(layout, tmp_path)


def test_generic_csv_and_parquet_agree(tmp_path):
    rows = [("b.jpg", "train", "7", 1, "red", 1), ("a.jpg", "val", "8", 2, "blue", 0)]
    columns = ["path", "split", "pid", "camera", "clothes", "gender"]
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "set.csv").write_text("\n".join(",".join(map(str, row)) for row in (columns, *rows)))
    (tmp_path / "p").mkdir()
    pq.write_table(pa.table(dict(zip(columns, zip(*rows, strict=True), strict=True))), tmp_path / "p" / "set.parquet")
    read = [
        [(i.source, i.split, i.identity, i.camera, i.clothes, i.gender, i.pose) for i in read_layout("generic", root)]
        for root in (tmp_path / "c", tmp_path / "p" / "set.parquet")
    ]
    assert read[0] == read[1] == [("a.jpg", "val", "8", 2, "blue", 0, None), ("b.jpg", "train", "7", 1, "red", 1, None)]


def test_generic_gives_every_identity_its_own_clothes(tmp_path):
    (tmp_path / "set.csv").write_text("path,split,pid,camera,clothes\na.jpg,train,1,0,A\nb.jpg,train,2,0,A\n")
    assert [i.clothes for i in read_layout("generic", tmp_path)] == ["1_A", "2_A"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,split,pid,camera\na,train,1,0\n", "has no column 'clothes'"),
        ("path,split,pid,camera,clothes\na,training,1,0,A\n", "line 2: split 'training' is unknown"),
        ("path,split,pid,camera,clothes\na,train,1,A,A\n", "line 2: .*'A'; cameras and poses are whole numbers"),
        ("path,split,pid,camera,clothes,gender\na,train,1,0,A,m\n", "line 2: gender 'm' is unknown"),
    ],
)
def test_generic_refuses(tmp_path, text, message):
    (tmp_path / "set.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_layout("generic", tmp_path)
