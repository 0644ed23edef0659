"""Tables of any data: what they say is taken as it is."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlq_ray.data import ingest
from rlq_ray.data.layouts import read_layout
from rlq_ray.errors import DataError


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
        ("path,split,pid,camera,clothes\na,train,1,0,A\nb,train,,0,A\n", "line 3: 'pid' is empty; fill it in"),
        ("path,split,pid,camera,clothes\na,train,1,0\n", "line 2: 'clothes' is empty; fill it in, or remove the line"),
        ("path,split,pid,camera,clothes,pose\na,train,1,0,A,1.5\n", "line 2: .*'1.5'; cameras and poses are whole"),
    ],
)
def test_generic_refuses(tmp_path, text, message):
    (tmp_path / "set.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_layout("generic", tmp_path)


def test_generic_keeps_zeros_and_reads_floats_that_are_whole(tmp_path):
    (tmp_path / "SET.CSV").write_text("path,split,pid,camera,clothes,gender,pose\na.jpg,train,007,0,A,1.0,12.0\n")
    (tmp_path / "._SET.csv").write_bytes(b"\x00\x05")
    (image,) = read_layout("generic", tmp_path)
    assert (image.identity, image.gender, image.pose) == ("007", 1, 12)


def test_generic_needs_one_table(tmp_path):
    with pytest.raises(DataError, match="holds 0 CSV or Parquet files: keep one there, or name it as the root"):
        read_layout("generic", tmp_path)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("path,split,pid,camera,clothes\na.jpg,train,1,0,A\n")
    with pytest.raises(DataError, match="holds 2 CSV or Parquet files"):
        read_layout("generic", tmp_path)
    assert len(read_layout("generic", tmp_path / "a.csv")) == 1


def test_generic_names_a_broken_or_missing_image_when_it_is_ingested(tmp_path):
    (tmp_path / "set.csv").write_text("path,split,pid,camera,clothes\na.jpg,train,1,0,A\n")
    with pytest.raises(DataError, match=r"a\.jpg"):
        ingest(tmp_path, "generic", tmp_path / "out", name="mini")
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"cannot decode .*a\.jpg .*: replace or remove the file"):
        ingest(tmp_path, "generic", tmp_path / "out", name="mini")
