"""What is foreseen of reads is what is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rlq_ray.config.schema import BatchConfig, DataConfig
from rlq_ray.data import DataSet, ExternalLoader, TargetLoader, split_training
from rlq_ray.data.foresight import reads_of
from rlq_ray.data.read_ahead import EpochPlan
from rlq_ray.types import Foresight

BATCH = BatchConfig(identities=4, images_per_identity=2, external_images=8)


def plan(*batches: list[int]) -> EpochPlan:
    groups = [np.array(batch, np.int32) for batch in batches]
    last = {group: step for step, batch in enumerate(batches) for group in batch}
    closing = [np.array([group for group in batch if last[group] == step]) for step, batch in enumerate(batches)]
    return EpochPlan([], groups, closing)


def test_what_is_kept_is_read_once() -> None:
    plans = [plan([0, 1], [1, 2]), plan([2], [3])]
    assert reads_of(plans, lambda group: 10 + group, max_bytes=1000, is_kept=True) == ((33, 13), 46)


def test_what_no_later_batch_needs_is_let_go_and_read_again() -> None:
    plans = [plan([0, 1], [1, 2]), plan([0], [2])]
    assert reads_of(plans, lambda group: 10, max_bytes=1000, is_kept=False) == ((30, 20), 20)


def test_what_was_used_longest_ago_gives_way() -> None:
    plans = [plan([0], [1], [0], [2], [1], [0])]
    assert reads_of(plans, lambda group: 10, max_bytes=20, is_kept=True) == ((50,), 20)


def test_epochs_that_are_not_foreseen_are_like_the_last_and_nothing_kept_is_read_twice() -> None:
    assert Foresight((100, 40), 0, 1000, is_kept=False).total(1) == 100
    assert Foresight((100, 40), 0, 1000, is_kept=False).total(4.5) == 100 + 3 * 40 + 20
    assert Foresight((100, 40), 0, 170, is_kept=True).total(4.5) == 170
    assert Foresight((100,), 0, 1000, is_kept=False).total(0.25) == 25


@pytest.mark.parametrize("kind", ["target", "external"])
@pytest.mark.parametrize("cache_mb", [512, 0.2])
def test_a_loader_reads_what_it_foresees(tiny_people, kind: str, cache_mb: float, tmp_path: Path) -> None:
    """Nothing is read ahead here, so an epoch's reads are those of its batches."""
    data = DataConfig(target="-", canvas_height=32, canvas_width=16, prefetch_batches=0, read_ahead_batches=0)
    dataset = DataSet.open(tiny_people.shards[kind], cache_mb=cache_mb)
    if kind == "external":
        loader = ExternalLoader(dataset, dataset.index.rows_of_split("train"), batch=BATCH, data=data, seed=0)
    else:
        split = split_training(dataset.index, pose_clusters=5, validation_fraction=0.25, seed=0)
        loader = TargetLoader(
            dataset, split.train_rows, split.classes, batch=BATCH, data=data, seed=0, steps_per_epoch=5, with_masks=True
        )
    foreseen = loader.foresee(3)
    with loader:
        before = loader.counts().read_bytes
        for epoch_bytes in foreseen.read_bytes:
            for _ in range(loader.steps_per_epoch):
                loader.next_batch()
            assert loader.counts().read_bytes - before == epoch_bytes
            before = loader.counts().read_bytes
    assert foreseen.is_kept == (cache_mb > 1)
    assert foreseen.read_bytes[0] > 0
    if foreseen.is_kept:
        assert sum(foreseen.read_bytes) <= foreseen.all_bytes
        assert loader.held_bytes == foreseen.held_bytes
