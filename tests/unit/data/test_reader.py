"""Rows come back as they went in, within bounded memory, and damage is noticed."""

from __future__ import annotations

import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rlq_ray.data import DataSet, finish_ingest, forget_identity, plan_ingest, read_manifest, write_shard
from rlq_ray.data.manifest import make_manifest, write_manifest
from rlq_ray.data.reader import read_index
from rlq_ray.data.shards import write_table
from rlq_ray.errors import DataError
from rlq_ray.storage import locate


@pytest.fixture
def copy_uri(shared_uri: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shared_uri, tmp_path / "copy"))


def test_rows_come_in_the_order_asked_and_masks_on_demand(dataset, shared_folder):
    rows = [40, 0, 7, 7]
    plain, masked = dataset.read_rows(rows), dataset.read_rows(rows, masks=True)
    for row, image, with_masks in zip(rows, plain, masked, strict=True):
        file = shared_folder.root / "LTCC_ReID" / str(dataset.index.source[row]).replace("gallery", "test")
        assert image.image == with_masks.image == file.read_bytes()
        assert str(image) == f"{image}" == str(dataset.index.source[row])
        assert image.shirt_mask is None
        assert with_masks.trousers_mask == (shared_folder.masks / f"{file.stem}_pant.png").read_bytes()


def test_threads_agree_though_the_cache_holds_one_group(folder, tmp_path):
    plan = plan_ingest(folder.root, "ltcc", tmp_path / "out", name="mini", shard_rows=5)
    finish_ingest(plan, [write_shard(job) for job in plan.jobs])
    dataset = DataSet.open(str(tmp_path / "out"), cache_mb=0)
    rows = [(7 * i) % 48 for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        images = [image.image for image in pool.map(dataset.read_row, rows)]
    files = [folder.root / "LTCC_ReID" / str(dataset.index.source[row]) for row in rows]
    assert images == [file.read_bytes() for file in files]
    assert len(dataset._groups) == 1


def test_it_pickles_as_its_address(dataset):
    again = pickle.loads(pickle.dumps(dataset))
    assert again.manifest == dataset.manifest
    assert again.read_row(3) == dataset.read_row(3)


def test_a_flipped_byte_is_noticed(copy_uri):
    shard = next(copy_uri.glob("shards/*.parquet"))
    content = bytearray(shard.read_bytes())
    image = DataSet.open(str(copy_uri)).read_row(5).image
    content[content.index(image) + len(image) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DataError, match=r"part-00000-.* is damaged"):
        DataSet.open(str(copy_uri)).read_row(5)
    with pytest.raises(DataError, match=r"part-00000-.* is damaged"):
        list(DataSet.open(str(copy_uri)).read_records(0))


def test_a_shard_of_another_length_or_none_is_noticed(copy_uri):
    shard = next(copy_uri.glob("shards/*.parquet"))
    shard.write_bytes(shard.read_bytes() + b"x")
    with pytest.raises(DataError, match=r"the manifest says \d+: it was cut off or changed"):
        DataSet.open(str(copy_uri)).read_row(5)
    shard.unlink()
    with pytest.raises(DataError, match="is gone"):
        DataSet.open(str(copy_uri)).read_row(5)


def test_a_data_set_from_before_plain_jpegs_were_marked_is_read_and_rewritten(copy_uri):
    place = locate(copy_uri)
    manifest = read_manifest(place)
    index = write_table(place, "index", read_index(place, manifest).drop_columns("plain_jpeg"))
    kept = manifest.model_copy(update={"index": index}).model_dump(exclude={"created", "content_hash"})
    write_manifest(place, make_manifest(**kept))
    before = DataSet.open(place)
    assert not before.index.plain_jpeg.any()
    forget_identity(copy_uri, "003")
    after = DataSet.open(place)
    assert after.index.plain_jpeg.dtype == bool
    assert len(after) < len(before)
    assert [str(image) for image in after.read_rows(range(len(after)))] == after.index.source.tolist()


def test_a_changed_manifest_or_index_is_noticed(copy_uri):
    manifest = copy_uri / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"name": "mini"', '"name": "maxi"'))
    with pytest.raises(DataError, match="content hash does not fit"):
        DataSet.open(str(copy_uri))
    manifest.write_text(text.replace('"format_version": 2', '"format_version": 3'))
    with pytest.raises(DataError, match="has format 3, this program reads 2"):
        DataSet.open(str(copy_uri))
    manifest.write_text(text)
    index = next(copy_uri.glob("index-*.parquet"))
    index.write_bytes(index.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match=r"index-.* is damaged"):
        DataSet.open(str(copy_uri))
