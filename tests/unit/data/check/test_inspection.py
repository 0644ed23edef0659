"""Every file is read once, and what is wrong is named instead of ending the check."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlq_ray.data import DataSet, ingest
from rlq_ray.data.attributes import find_masks
from rlq_ray.data.check import ShardJob, files_jobs, inspect, join
from rlq_ray.data.check.inspection import Faults
from rlq_ray.data.layouts import read_layout

FIRST = "train/000_1_c2_000000.png"


def inspect_folder(folder):
    images = read_layout("ltcc", folder.root)
    jobs = list(files_jobs(images, find_masks(images, folder.masks)))
    return images, join([inspect(pickle.loads(pickle.dumps(job))) for job in jobs])


def test_a_sound_folder_has_no_faults(shared_folder):
    images, found = inspect_folder(shared_folder)
    assert found.faults == Faults()
    assert (len(found), found.num_masks) == (48, 3 * 48)
    assert set(zip(found.height.tolist(), found.width.tolist(), strict=True)) == {(48, 24)}
    assert found.comparable.all()
    assert (found.kind == 1).all()
    assert found.sha256[7] == hashlib.sha256(images[7].file.read_bytes()).digest()


def test_folders_are_cut_into_pieces_in_order(shared_folder, monkeypatch):
    _, whole = inspect_folder(shared_folder)
    monkeypatch.setattr("rlq_ray.data.check.inspection._FILES_PER_JOB", 20)
    _, pieces = inspect_folder(shared_folder)
    assert (pieces.sha256 == whole.sha256).all()
    assert (pieces.hashes == whole.hashes).all()


def test_a_data_set_shows_what_its_folder_shows(shared_folder, dataset):
    images, files = inspect_folder(shared_folder)
    stored = join([inspect(ShardJob(dataset.location, entry)) for entry in dataset.manifest.shards])
    row_of = {image.source: row for row, image in enumerate(images)}
    order = [row_of[source] for source in dataset.index.source.tolist()]
    assert stored.faults == Faults()
    assert stored.num_masks == files.num_masks
    assert (stored.sha256 == files.sha256[order]).all()
    assert (stored.hashes == files.hashes[order]).all()


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_truncated_image_is_named(folder, suffix):
    file = folder.root / "LTCC_ReID" / FIRST
    broken = file.with_suffix(f".{suffix}")
    Image.open(file).save(broken)
    if suffix == "jpg":
        file.unlink()
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    _, found = inspect_folder(folder)
    assert len(found.faults.images) == 1
    assert found.faults.images[0].startswith(f"{FIRST.removesuffix('.png')}.{suffix} (")
    assert (found.height == 0).sum() == (~found.comparable).sum() == 1


def test_other_files_and_missing_ones_are_named(folder):
    images = read_layout("ltcc", folder.root)
    images[0].file.unlink()
    images[1].file.write_text("a note")
    Image.new("RGB", (24, 48)).save(images[2].file)
    job = next(files_jobs(images, [None] * len(images)))
    found = inspect(job)
    assert found.faults.images == (
        f"{images[0].source} (No such file or directory)",
        f"{images[1].source} (no image file)",
    )
    assert found.kind[:3].tolist() == [-1, 2, 1]
    assert found.comparable[:4].tolist() == [False, False, False, True]
    assert found.height[2] == 48


def test_masks_that_cannot_be_used_are_named(folder):
    stem = Path(FIRST).stem
    (folder.masks / f"{stem}_shirt.png").write_bytes(b"")
    Image.new("L", (24, 24)).save(folder.masks / f"{stem}_pant.png")
    _, found = inspect_folder(folder)
    assert found.faults.images == ()
    assert found.faults.masks == (
        f"{stem}_shirt.png (no image file)",
        f"{stem}_pant.png (24×24 pixels, its image 24×48)",
    )


def test_a_changed_shard_is_named_and_read_as_far_as_it_goes(tmp_path, folder):
    ingest(folder.root, "ltcc", tmp_path / "set", name="mini")
    dataset = DataSet.open(str(tmp_path / "set"))
    (entry,) = dataset.manifest.shards
    file = tmp_path / "set" / entry.path
    content = bytearray(file.read_bytes())
    image = (folder.root / "LTCC_ReID" / FIRST).read_bytes()
    place = content.index(image)
    content[place + 200 : place + 210] = bytes(10)
    file.write_bytes(content)
    found = inspect(ShardJob(dataset.location, entry))
    assert found.faults.shards == (f"{entry.path} is not what the manifest says: it was changed",)
    assert (len(found), (found.sha256 == hashlib.sha256(image).digest()).any()) == (48, False)
    assert (found.height > 0).sum() >= 47

    file.write_bytes(content[: len(content) // 2])
    found = inspect(ShardJob(dataset.location, entry))
    assert len(found.faults.shards) == 1
    assert f"{entry.path} was changed (" in found.faults.shards[0]
    assert (len(found), found.comparable.any()) == (48, False)

    file.unlink()
    assert inspect(ShardJob(dataset.location, entry)).faults.shards == (f"{entry.path} is gone",)


def test_a_shard_with_fewer_rows_than_the_manifest_says_is_changed(dataset):
    (entry,) = dataset.manifest.shards
    found = inspect(ShardJob(dataset.location, replace_rows(entry, 40)))
    assert len(found.faults.shards) == 1
    assert len(found) == 40


def replace_rows(entry, rows):
    return entry.model_copy(update={"rows": rows, "sha256": "0" * 64})


def test_pieces_of_nothing_join(dataset):
    (entry,) = dataset.manifest.shards
    piece = inspect(ShardJob(dataset.location, entry))
    doubled = join([piece, replace(piece, faults=Faults(masks=("m",)))])
    assert (len(doubled), doubled.num_masks, doubled.faults.masks) == (96, 2 * piece.num_masks, ("m",))
    assert np.array_equal(doubled.hashes[48:], piece.hashes)
