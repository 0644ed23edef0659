"""Batches: the same sequence for any number of workers, resumable anywhere, with the labels of their rows."""

from __future__ import annotations

import io
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rlq_ray.config.schema import BatchConfig, DataConfig
from rlq_ray.data import DataSet, ExternalLoader, SideFiles, TargetLoader, ingest, iterate_rows, split_training
from rlq_ray.errors import CheckpointError, DataError, UsageError
from rlq_ray.types import Batch

BATCH = BatchConfig(identities=4, images_per_identity=4, external_images=8)


def data_config(height: int = 48, width: int = 24, prefetch: int = 3) -> DataConfig:
    return DataConfig(target="-", canvas_height=height, canvas_width=width, prefetch_batches=prefetch)


def target_loader(dataset: DataSet, **options: object) -> TargetLoader:
    split = split_training(dataset.index, pose_clusters=3, validation_fraction=0.1)
    settings = {"batch": BATCH, "data": data_config(), "seed": 1, "steps_per_epoch": 3, **options}
    return TargetLoader(dataset, split.train_rows, split.classes, **settings)


def external_loader(dataset: DataSet, **options: object) -> ExternalLoader:
    settings = {"batch": BATCH, "data": data_config(), "seed": 1, **options}
    return ExternalLoader(dataset, np.arange(30), **settings)


LOADERS = pytest.mark.parametrize("make", [target_loader, external_loader])


def take(loader: TargetLoader | ExternalLoader, count: int) -> list[Batch]:
    with loader:
        return [loader.next_batch() for _ in range(count)]


def assert_same(first: Batch, second: Batch) -> None:
    for name in ("row_B", "image_BCHW", "identity_B", "clothes_B", "gender_B", "pose_B"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name


def test_a_target_batch_holds_pixels_and_labels_of_its_rows(dataset):
    index, loader = dataset.index, target_loader(dataset)
    split = split_training(index, pose_clusters=3, validation_fraction=0.1)
    (batch,) = take(loader, 1)
    assert batch.image_BCHW.shape == (16, 3, 48, 24)
    assert batch.image_BCHW.dtype == torch.uint8
    assert batch.image_BCHW.is_contiguous(memory_format=torch.channels_last)
    assert batch.shirt_B1HW is batch.trousers_B1HW is batch.mask_faulty_B is None
    for place, row in enumerate(batch.row_B.tolist()):
        pixels = np.asarray(Image.open(io.BytesIO(dataset.read_row(row).image)))
        np.testing.assert_array_equal(batch.image_BCHW[place].permute(1, 2, 0).numpy(), pixels)
        assert split.classes.identities[batch.identity_B[place]] == index.identity[row]
        assert split.classes.clothes[batch.clothes_B[place]] == index.clothes[row]
        assert batch.camera_B[place] == index.camera[row]
        assert batch.gender_B[place] == int(index.identity[row]) % 2
        assert batch.pose_B[place] == index.pose[row] > 0
    assert set(batch.row_B.tolist()) <= set(split.train_rows.tolist())
    assert torch.equal(batch.identity_B, batch.identity_B.view(4, 4)[:, :1].expand(4, 4).reshape(-1))


def test_an_external_batch_has_no_labels(dataset):
    (batch,) = take(external_loader(dataset), 1)
    assert len(batch) == 8
    for labels in (batch.identity_B, batch.clothes_B, batch.camera_B, batch.gender_B, batch.pose_B):
        assert labels.dtype == torch.int64
        assert set(labels.tolist()) == {-1}


def test_images_come_on_the_canvas_and_remember_their_size(dataset):
    (batch,) = take(external_loader(dataset, data=data_config(height=32, width=20)), 1)
    assert batch.image_BCHW.shape == (8, 3, 32, 20)
    assert batch.original_size_B2.tolist() == [[48, 24]] * 8
    pixels = Image.open(io.BytesIO(dataset.read_row(int(batch.row_B[2])).image)).resize((20, 32), 2)
    np.testing.assert_array_equal(batch.image_BCHW[2].permute(1, 2, 0).numpy(), np.asarray(pixels))


@LOADERS
@pytest.mark.parametrize("world_size", [2, 4])
def test_the_workers_batches_put_together_are_the_single_workers(dataset, make, world_size):
    single = take(make(dataset), 7)
    ranks = [take(make(dataset, rank=rank, world_size=world_size), 7) for rank in range(world_size)]
    for step, batch in enumerate(single):
        assert torch.equal(torch.cat([rank[step].row_B for rank in ranks]), batch.row_B)
        assert torch.equal(torch.cat([rank[step].image_BCHW for rank in ranks]), batch.image_BCHW)


@LOADERS
def test_workers_that_cannot_share_are_refused(dataset, make):
    with pytest.raises(UsageError, match="cannot be shared by 3 workers"):
        make(dataset, rank=0, world_size=3)


@LOADERS
@pytest.mark.parametrize("taken", [0, 2, 3, 4])
@pytest.mark.parametrize("prefetch", [0, 3])
def test_resuming_gives_exactly_the_batches_that_were_left(dataset, make, taken, prefetch):
    whole = take(make(dataset), 8)
    with make(dataset, data=data_config(prefetch=prefetch)) as first:
        for _ in range(taken):
            first.next_batch()
        state = first.state_dict()
    assert state == {"epoch": taken // 3, "step": taken % 3, "order": state["order"]}
    second = make(dataset, data=data_config(prefetch=prefetch))
    second.next_batch()  # what another loader made ready must not leak
    second.load_state_dict(state)
    for expected, batch in zip(whole[taken:], take(second, 8 - taken), strict=True):
        assert_same(expected, batch)


@LOADERS
def test_a_state_of_longer_epochs_is_refused(dataset, make):
    with make(dataset) as loader, pytest.raises(CheckpointError, match="stopped at step 3, but an epoch now has 3"):
        loader.load_state_dict({"epoch": 0, "step": 3})


def test_steps_by_default_show_as_many_images_as_there_are(dataset):
    with target_loader(dataset, steps_per_epoch=None) as loader:
        assert loader.steps_per_epoch == 24 // 16
    with external_loader(dataset) as loader:
        assert loader.steps_per_epoch == 30 // 8


def test_masks_come_with_the_images_and_faulty_ones_as_their_union(folder, tmp_path):
    (folder.masks / "faulty.csv").write_text("001_1_c2_000000\n")
    (folder.masks / "002_1_c2_000000_pant.png").unlink()
    ingest(folder.root, "ltcc", tmp_path / "out", name="mini", side_files=SideFiles(masks=folder.masks))
    dataset = DataSet.open(str(tmp_path / "out"))
    faulty = {f"train/{name}_1_c2_000000.png" for name in ("001", "002")}
    (batch,) = iterate_rows(dataset, np.arange(36), batch_images=36, data=data_config(), with_masks=True)
    assert batch.shirt_B1HW is not None
    assert batch.trousers_B1HW is not None
    assert batch.mask_faulty_B is not None
    shirt_HW, trousers_HW = torch.zeros(2, 48, 24, dtype=torch.bool)
    shirt_HW[10:20, 4:20], trousers_HW[20:40, 6:18] = True, True
    for row, source in enumerate(dataset.index.source.tolist()[:36]):
        assert bool(batch.mask_faulty_B[row]) == (source in faulty)
        expected = (shirt_HW | trousers_HW, torch.zeros_like(shirt_HW)) if source in faulty else (shirt_HW, trousers_HW)
        assert torch.equal(batch.shirt_B1HW[row, 0], expected[0])
        assert torch.equal(batch.trousers_B1HW[row, 0], expected[1])
    assert {-1} == set(batch.gender_B.tolist()) == set(batch.pose_B.tolist())


def test_rows_are_iterated_in_order_with_a_short_last_batch(dataset):
    rows = np.array([47, 3, 5, 40, 41, 0, 1])
    batches = list(iterate_rows(dataset, rows, batch_images=3, data=data_config(prefetch=1)))
    assert [batch.row_B.tolist() for batch in batches] == [[47, 3, 5], [40, 41, 0], [1]]
    names = np.unique(dataset.index.identity)
    assert [names[number] for batch in batches for number in batch.identity_B] == dataset.index.identity[rows].tolist()


def test_an_error_reaches_the_caller_and_no_thread_stays(shared_uri, tmp_path):
    uri = Path(shutil.copytree(shared_uri, tmp_path / "copy"))
    dataset = DataSet.open(str(uri))
    next(uri.glob("shards/*.parquet")).unlink()
    before = set(threading.enumerate())
    with target_loader(dataset) as loader:
        for _ in range(2):  # a batch that failed keeps its place
            with pytest.raises(DataError, match=r"is (damaged|gone)"):
                loader.next_batch()
        assert loader.state_dict()["step"] == 0
    with pytest.raises(DataError, match=r"is (damaged|gone)"):
        list(iterate_rows(dataset, np.arange(9), batch_images=2, data=data_config()))
    assert set(threading.enumerate()) <= before
