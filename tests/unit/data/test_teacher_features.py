"""Features are read as they were written, whole, for the draw of the epoch; what is not whole is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from rlq_ray.data import TeacherFeatures, missing_draws, write_draw
from rlq_ray.data.teacher_features import file_of_draw
from rlq_ray.errors import DataError
from rlq_ray.storage import locate
from rlq_ray.types import Batch

ROWS = np.array([3, 5, 6, 9])
FEATURES = np.random.default_rng(0).normal(size=(3, 2, len(ROWS), 16)).astype(np.float16)
"""Of three draws."""


def path_of(folder: Path, number: int) -> Path:
    return Path(file_of_draw(locate(folder), number).path)


def batch_of(*rows: int) -> Batch:
    nothing = torch.empty(len(rows))
    return Batch(*[nothing] * 7, row_B=torch.tensor(rows))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, feat_2ND in enumerate(FEATURES):
        write_draw(locate(tmp_path), number, ROWS, feat_2ND, {"teacher": "abc"})
    return tmp_path


def test_an_epoch_has_its_draw_and_a_batch_the_features_of_its_rows(folder: Path) -> None:
    features = TeacherFeatures(locate(folder), 3)
    assert features.feature_size == 16
    for epoch in (0, 1, 2, 3, 7):
        batch = features.onto(batch_of(9, 3, 9), epoch)
        assert batch.draw == epoch % 3
        assert np.array_equal(batch.taught_2BD.numpy(), FEATURES[epoch % 3][:, [3, 0, 3]])
    moved = batch.to(torch.device("meta"))
    assert (moved.draw, moved.taught_2BD.device.type) == (1, "meta")


def test_fewer_draws_are_the_first_of_more(folder: Path) -> None:
    assert TeacherFeatures(locate(folder), 2).onto(batch_of(3), 2).draw == 0
    assert missing_draws(locate(folder), 3) == []
    assert missing_draws(locate(folder), 5) == [3, 4]


def test_many_threads_look_up_the_same(folder: Path) -> None:
    features = TeacherFeatures(locate(folder), 3)
    with ThreadPoolExecutor(8) as pool:
        batches = pool.map(lambda epoch: features.onto(batch_of(5, 6), epoch), range(60))
        for epoch, batch in enumerate(batches):
            assert np.array_equal(batch.taught_2BD.numpy(), FEATURES[epoch % 3][:, [1, 2]])


def test_anybody_can_open_a_file_and_see_what_it_is_of(folder: Path) -> None:
    table = pa.ipc.open_file(path_of(folder, 1)).read_all()
    assert table.column_names == ["row", "clothes", "identity"]
    assert table.schema.field("clothes").type == pa.list_(pa.float16(), 16)
    assert table.schema.metadata[b"teacher"] == b"abc"
    assert table.schema.metadata[b"draw"] == b"1"


@pytest.mark.parametrize("length", [0, 5, 1000])
def test_one_that_lost_its_end_is_missing(folder: Path, length: int) -> None:
    path = path_of(folder, 1)
    path.write_bytes(path.read_bytes()[:length])
    assert missing_draws(locate(folder), 3) == [1]
    with pytest.raises(DataError, match=r"draw-00001\.arrow is damaged: delete what is there and call again"):
        TeacherFeatures(locate(folder), 3).onto(batch_of(3), 1)


def test_what_is_half_written_counts_for_nothing(folder: Path) -> None:
    path_of(folder, 2).rename(folder / ".draw-00002.arrow.c0ffee.part")
    assert missing_draws(locate(folder), 3) == [2]
    with pytest.raises(DataError, match=r"draw-00002\.arrow is missing"):
        TeacherFeatures(locate(folder), 3).onto(batch_of(3), 2)


def test_another_number_in_the_middle_is_noticed(folder: Path) -> None:
    content = bytearray(path_of(folder, 0).read_bytes())
    place = content.find(FEATURES[0, 1].tobytes())
    content[place + 7] ^= 1
    path_of(folder, 0).write_bytes(content)
    with pytest.raises(DataError, match=r"draw-00000\.arrow is damaged"):
        TeacherFeatures(locate(folder), 3)


@pytest.mark.parametrize("row", [0, 4, 10])
def test_an_image_that_a_draw_lacks_is_refused(folder: Path, row: int) -> None:
    with pytest.raises(DataError, match=r"draw-00000\.arrow lacks images"):
        TeacherFeatures(locate(folder), 3).onto(batch_of(3, row), 0)
