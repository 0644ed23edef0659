"""What a sweep takes at most, and that a disk which it would fill is found beforehand."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from pipelines.sweep.file import SweepFile, read_sweep_file
from pipelines.sweep.plan import most_trainings, refuse_small_disk
from rlq_ray.errors import UsageError
from rlq_ray.storage import locate
from rlq_ray.train.checkpoint import STATE_FILE

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    ("name", "most"),
    [("smoke", [6, 3]), ("step-ratio", [12, 6, 3]), ("loss-weights", [36, 18, 9]), ("population", [6, 6, 6, 6])],
)
def test_counts_the_trainings_of_every_round_or_part(name: str, most: list[int]) -> None:
    assert most_trainings(read_sweep_file(name), epochs=8) == most


def test_a_disk_that_would_be_filled_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file: SweepFile = read_sweep_file("smoke")
    teacher, store = tmp_path / "teacher", locate(tmp_path / "to" / "come")
    teacher.mkdir()
    (teacher / STATE_FILE).write_bytes(bytes(10**6))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(0, 0, 15_700_000))
    refuse_small_disk(file, 2, 2, store, str(teacher))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(0, 0, 15_500_000))
    with pytest.raises(UsageError, match=r"13 checkpoints of 1 MB take 0\.0 GB, but .* has 0\.0 GB free: make room"):
        refuse_small_disk(file, 2, 2, store, str(teacher))
    refuse_small_disk(file, 2, 2, locate("s3://bucket/store"), str(teacher))
