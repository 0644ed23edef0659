"""A folder becomes a data set whole or not at all, and others' tools can read it."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rlq_ray.data import DataSet, SideFiles, finish_ingest, ingest, plan_ingest, write_shard
from rlq_ray.errors import DataError

FIRST = "LTCC_ReID/train/000_1_c2_000000.png"


def test_manifest_counts_and_rates(dataset):
    manifest = dataset.manifest
    counts = {split: (c.images, c.identities, c.clothes, c.cameras) for split, c in manifest.splits.items()}
    assert counts == {"train": (36, 6, 12, 4), "query": (6, 3, 6, 2), "gallery": (6, 3, 6, 2)}
    assert (manifest.name, manifest.layout, manifest.licence_accepted) == ("mini", "ltcc", "none")
    assert (manifest.join_rates.gender, manifest.join_rates.pose, manifest.join_rates.masks) == (1.0, 1.0, 1.0)
    assert manifest.pose is not None
    assert (manifest.pose.variant, manifest.pose.k, len(manifest.pose.centroids)) == ("R_LA", 3, 3)
    assert sum(shard.rows for shard in manifest.shards) == 48 == len(dataset)


def test_records_hold_the_files_byte_for_byte(dataset, shared_folder):
    records = [record for shard in range(len(dataset.manifest.shards)) for record in dataset.read_records(shard)]
    people = {person["image_id"]: person for person in json.loads(shared_folder.keypoints.read_text())}
    order = [(r.split, r.identity, r.clothes, r.camera, r.source) for r in records]
    assert order == sorted(order, key=lambda key: (("train", "val", "query", "gallery").index(key[0]), *key[1:]))
    for record in records:
        file = shared_folder.root / "LTCC_ReID" / record.source
        assert record.image == file.read_bytes()
        assert record.shirt_mask == (shared_folder.masks / f"{file.stem}_shirt.png").read_bytes()
        assert record.gender == int(record.identity) % 2
        assert record.keypoints == tuple(np.float32(people[file.name]["keypoints"]).tolist())
        assert 1 <= record.pose <= 3
        assert (record.height, record.width, record.mask_faulty) == (48, 24, False)


def test_other_tools_read_the_shards(shared_uri):
    glob = f"{shared_uri}/shards/*.parquet"
    rows = duckdb.sql(f"select split, count(*), min(octet_length(image.bytes)) from '{glob}' group by split").fetchall()
    assert {split: count for split, count, _ in rows} == {"train": 36, "query": 6, "gallery": 6}
    table = pads.dataset(f"{shared_uri}/shards").to_table(columns=["identity", "image"])
    assert table.num_rows == 48
    frame = pd.read_parquet(f"{shared_uri}/shards")
    pixels = Image.open(io.BytesIO(frame["image"][0]["bytes"]))
    assert (pixels.size, frame["image"][0]["path"]) == ((24, 48), "train/000_1_c2_000000.png")


def test_row_groups_are_small_and_images_uncompressed(tmp_path, folder):
    manifest = ingest(folder.root, "ltcc", tmp_path / "out", name="mini")
    metadata = pq.ParquetFile(tmp_path / "out" / manifest.shards[0].path).metadata
    columns = {metadata.row_group(0).column(i).path_in_schema: metadata.row_group(0).column(i) for i in range(17)}
    assert columns["image.bytes"].compression == "UNCOMPRESSED"
    assert columns["identity"].compression == "ZSTD"
    assert metadata.row_group(0).num_rows <= 64


def test_shards_are_cut_and_may_be_written_in_any_order_elsewhere(tmp_path, folder):
    plan = plan_ingest(folder.root, "ltcc", tmp_path / "out", name="mini", side_files=folder.side_files, shard_rows=10)
    written = [write_shard(pickle.loads(pickle.dumps(job))) for job in reversed(plan.jobs)]
    manifest = finish_ingest(plan, written)
    assert [shard.rows for shard in manifest.shards] == [6, 6, 6, 6, 6, 10, 8]  # identities stay whole
    index = DataSet.open(str(tmp_path / "out")).index
    assert index.shard.tolist() == [shard for shard, entry in enumerate(manifest.shards) for _ in range(entry.rows)]
    assert index.first_row.tolist() == [0, 6, 12, 18, 24, 30, 40, 48]
    assert index.source.tolist() == [row.source for job in plan.jobs for row in job.rows]


def test_without_a_manifest_there_is_no_data_set(tmp_path, folder):
    plan = plan_ingest(folder.root, "ltcc", tmp_path / "out", name="mini")
    write_shard(plan.jobs[0])
    with pytest.raises(DataError, match=r"no data set at .*out \(no manifest\): run `rlq data ingest … --to"):
        DataSet.open(str(tmp_path / "out"))
    with pytest.raises(DataError, match="0 of 1 shards"):
        finish_ingest(plan, [])


def test_again_gives_the_same_hash_and_another_folder_replaces_it(tmp_path, folder):
    out = tmp_path / "out"
    first = ingest(folder.root, "ltcc", out, name="mini", side_files=folder.side_files)
    again = ingest(folder.root, "ltcc", out, name="mini", side_files=folder.side_files)
    assert again.content_hash == first.content_hash
    (folder.root / FIRST).unlink()
    other = ingest(folder.root, "ltcc", out, name="mini", side_files=SideFiles())
    assert other.content_hash != first.content_hash
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.parquet")} == {
        other.index.path,
        *(shard.path for shard in other.shards),
    }
    assert len(DataSet.open(str(out))) == 47


def test_a_failed_second_ingest_leaves_the_first(tmp_path, folder):
    ingest(folder.root, "ltcc", tmp_path / "out", name="mini")
    (folder.root / FIRST).write_bytes(b"")
    with pytest.raises(DataError):
        ingest(folder.root, "ltcc", tmp_path / "out", name="mini")
    dataset = DataSet.open(str(tmp_path / "out"))
    assert len(dataset.read_rows(range(48))) == 48


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_truncated_image_is_named(tmp_path, folder, suffix):
    file = (folder.root / FIRST).with_suffix(f".{suffix}")
    Image.open(folder.root / FIRST).save(file)
    if suffix == "jpg":
        (folder.root / FIRST).unlink()
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(DataError, match=f"cannot decode .*{file.name} .*: replace or remove the file"):
        ingest(folder.root, "ltcc", tmp_path / "out", name="mini")


def test_a_mask_of_other_proportions_is_named(tmp_path, folder):
    Image.new("L", (24, 24)).save(folder.masks / "000_1_c2_000000_pant.png")
    with pytest.raises(DataError, match=r"000_1_c2_000000_pant\.png is 24×24 pixels, its image 24×48"):
        ingest(folder.root, "ltcc", tmp_path / "out", name="mini", side_files=folder.side_files)


def test_an_incomplete_side_file_is_refused_unless_partial(tmp_path, folder):
    people = json.loads(folder.keypoints.read_text())
    folder.keypoints.write_text(json.dumps(people[3:]))
    side_files = SideFiles(keypoints=folder.keypoints, pose_k=3)
    with pytest.raises(DataError, match=r"covers 91.7% of the training images, and lacks 'train/000_1_c2_000000.png'"):
        ingest(folder.root, "ltcc", tmp_path / "out", name="mini", side_files=side_files)
    partial = dataclasses.replace(side_files, partial=True)
    manifest = ingest(folder.root, "ltcc", tmp_path / "out", name="mini", side_files=partial)
    assert manifest.join_rates.pose == pytest.approx(33 / 36)
    index = DataSet.open(str(tmp_path / "out")).index
    assert index.pose[:3].tolist() == [0, 0, 0]
    assert (index.pose[3:] > 0).all()


def test_clusters_are_fitted_on_training_images_alone(tmp_path, folder):
    first = ingest(folder.root, "ltcc", tmp_path / "a", name="mini", side_files=folder.side_files)
    shutil.rmtree(folder.root / "LTCC_ReID" / "query")
    (folder.root / "LTCC_ReID" / "query").mkdir()
    side_files = dataclasses.replace(folder.side_files, masks=None)
    second = ingest(folder.root, "ltcc", tmp_path / "b", name="mini", side_files=side_files)
    assert first.pose == second.pose


def test_the_authors_clusters_can_be_taken_instead(tmp_path, folder):
    stems = [path.stem for path in sorted((folder.root / "LTCC_ReID").rglob("*.png"))]
    lines = [f"x,{stem},{float(row % 4)}" for row, stem in enumerate(stems)]
    (tmp_path / "poses.csv").write_text("\n".join(("Category,Image,R_A_5", *lines)))
    side_files = SideFiles(poses=tmp_path / "poses.csv", pose_variant="R_A", pose_k=5)
    manifest = ingest(folder.root, "ltcc", tmp_path / "out", name="mini", side_files=side_files)
    assert manifest.pose is not None
    assert (manifest.pose.k, manifest.pose.centroids, manifest.join_rates.gender) == (5, (), None)
    index = DataSet.open(str(tmp_path / "out")).index
    expected = {stem: row % 4 for row, stem in enumerate(stems)}
    assert index.pose.tolist() == [expected[Path(source).stem] for source in index.source]
    assert set(index.gender.tolist()) == {-1}
