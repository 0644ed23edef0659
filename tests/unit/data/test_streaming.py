"""Loaders that stream through a window: the same batches for any workers, each row group read once, few held."""

from __future__ import annotations

import re
import threading
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from rlq_ray.config.schema import BatchConfig, DataConfig
from rlq_ray.data import DataSet, ExternalLoader, TargetLoader, finish_ingest, plan_ingest, split_training, write_shard
from rlq_ray.errors import CheckpointError, StorageError, UsageError
from rlq_ray.types import Batch

BATCH = BatchConfig(identities=2, images_per_identity=3, external_images=4)
STEPS = 6
GROUPS = 12
"""Row groups of the training images, two to each of six identities; `FINE_GROUPS` are six to each."""
FINE_GROUPS = 36
CACHE_MB = 1.0
"""The training images take 1.2 MiB."""


@pytest.fixture(scope="module")
def many_groups(large_folder, tmp_path_factory: pytest.TempPathFactory) -> str:
    return ingest_in_groups(large_folder.root, 30, tmp_path_factory.mktemp("many"))


@pytest.fixture(scope="module")
def fine_groups(large_folder, tmp_path_factory: pytest.TempPathFactory) -> str:
    return ingest_in_groups(large_folder.root, 10, tmp_path_factory.mktemp("fine"))


def ingest_in_groups(root: Path, rows_per_group: int, to: Path) -> str:
    plan = plan_ingest(root, "ltcc", to, name="mini", shard_rows=rows_per_group)
    finish_ingest(plan, [write_shard(job) for job in plan.jobs])
    return str(to)


class Opened:
    """A data set opened anew, so that what it reads can be counted."""

    def __init__(self, uri: str, groups: float, cache_mb: float = CACHE_MB) -> None:
        self.dataset = DataSet.open(uri, cache_mb=cache_mb)
        self.rows = np.flatnonzero(self.dataset.index.split.equals("train"))
        train_groups = np.unique(self.dataset.index.group[self.rows])
        group_bytes = self.dataset.group_bytes(train_groups, masks=False) / len(train_groups)
        self.data = DataConfig(
            target="-",
            canvas_height=48,
            canvas_width=24,
            window_mb=(groups + 0.5) * group_bytes / 2**20,
            read_ahead_batches=1,
        )

    def target(self, rank: int = 0, world_size: int = 1, steps: int = STEPS) -> TargetLoader:
        split = split_training(self.dataset.index, pose_clusters=0, validation_fraction=0)
        place = {"rank": rank, "world_size": world_size, "steps_per_epoch": steps}
        return TargetLoader(self.dataset, split.train_rows, split.classes, batch=BATCH, data=self.data, seed=1, **place)

    def external(self, rank: int = 0, world_size: int = 1) -> ExternalLoader:
        place = {"rank": rank, "world_size": world_size}
        return ExternalLoader(self.dataset, self.rows, batch=BATCH, data=self.data, seed=1, **place)


KINDS = pytest.mark.parametrize("kind", ["target", "external"])


def take(loader: TargetLoader | ExternalLoader, count: int) -> list[Batch]:
    with loader:
        return [loader.next_batch() for _ in range(count)]


def rows_of(batches: list[Batch]) -> list[list[int]]:
    return [batch.row_B.tolist() for batch in batches]


@KINDS
def test_the_workers_batches_put_together_are_the_single_workers(many_groups, kind):
    single = take(getattr(Opened(many_groups, 4), kind)(), 2 * STEPS)
    ranks = [take(getattr(Opened(many_groups, 4), kind)(rank, 2), 2 * STEPS) for rank in range(2)]
    for step, batch in enumerate(single):
        assert torch.equal(torch.cat([rank[step].row_B for rank in ranks]), batch.row_B)
        assert torch.equal(torch.cat([rank[step].image_BCHW for rank in ranks]), batch.image_BCHW)


@KINDS
@pytest.mark.parametrize("world_sizes", [(1, 2), (2, 1), (2, 2)])
def test_another_number_of_workers_takes_over_in_mid_epoch(many_groups, kind, world_sizes):
    whole = rows_of(take(getattr(Opened(many_groups, 4), kind)(), 2 * STEPS))
    before, after = world_sizes
    parts: list[list[list[int]]] = []
    for rank in range(before):
        loader = getattr(Opened(many_groups, 4), kind)(rank, before)
        parts.append(rows_of(take(loader, 4)))
        state = loader.state_dict()
    assert (state["epoch"], state["step"]) == divmod(4, loader.steps_per_epoch)
    joined = [list(chain(*step)) for step in zip(*parts, strict=True)]
    parts = []
    for rank in range(after):
        loader = getattr(Opened(many_groups, 4), kind)(rank, after)
        loader.load_state_dict(state)
        parts.append(rows_of(take(loader, 2 * STEPS - 4)))
    joined += [list(chain(*step)) for step in zip(*parts, strict=True)]
    assert joined == whole


def test_every_unlabelled_image_comes_once_an_epoch_whoever_reads(many_groups):
    for world_size in (1, 2, 4):
        loaders = [Opened(many_groups, 2).external(rank, world_size) for rank in range(world_size)]
        assert {loader.steps_per_epoch for loader in loaders} == {90}
        rows = [row for loader in loaders for batch in rows_of(take(loader, 90)) for row in batch]
        assert Counter(rows) == Counter(range(360))


@KINDS
def test_a_row_group_is_read_once_an_epoch_and_by_one_rank(many_groups, kind):
    requests = []
    for rank in range(2):
        opened = Opened(many_groups, 4)
        opened.data = opened.data.model_copy(update={"read_ahead_batches": 0, "prefetch_batches": 0})
        loader = getattr(opened, kind)(rank, 2)
        take(loader, loader.steps_per_epoch)
        requests.append(loader.counts().requests)
    assert GROUPS <= sum(requests) <= GROUPS + 1  # the lanes may share one where their stretches meet


@pytest.mark.parametrize(("kind", "window", "most"), [("target", 12, 24), ("external", 4, 12)])
def test_few_row_groups_are_held(fine_groups, kind, window, most):
    opened = Opened(fine_groups, window)
    held = []
    with getattr(opened, kind)() as loader:
        for _ in range(3 * loader.steps_per_epoch):
            loader.next_batch()
            held.append(len(opened.dataset._groups))
    assert max(held) <= most < FINE_GROUPS


@KINDS
def test_batches_ahead_are_read_before_they_are_asked_for(many_groups, kind):
    """With reading ahead, row groups are there or on their way when a batch is decoded: nobody fetches for himself."""
    opened = Opened(many_groups, 4, cache_mb=100)
    opened.data = opened.data.model_copy(update={"read_ahead_batches": 4, "prefetch_batches": 0})
    fetched_by = []
    fetch = opened.dataset._groups._fetch

    def noted(key):
        fetched_by.append(threading.current_thread().name.partition("_")[0])
        return fetch(key)

    opened.dataset._groups._fetch = noted
    loader = getattr(opened, kind)()
    take(loader, 2 * loader.steps_per_epoch)
    assert fetched_by == ["read"] * GROUPS


@pytest.mark.parametrize("steps", [1, 2, 6])
def test_an_epoch_is_laid_out_once(many_groups, steps):
    opened = Opened(many_groups, 4)
    opened.data = opened.data.model_copy(update={"read_ahead_batches": 8})
    loader = opened.target(steps=steps)
    laid_out = []
    rows_of_epoch = loader.rows_of_epoch

    def noted(epoch):
        laid_out.append(epoch)
        return rows_of_epoch(epoch)

    loader.rows_of_epoch = noted
    take(loader, 24)
    assert sorted(laid_out) == list(range(len(laid_out)))
    assert len(loader._plans) <= 2 + 13 // steps


def test_a_batch_that_failed_is_tried_again(many_groups):
    opened = Opened(many_groups, 4)
    expected = rows_of(take(Opened(many_groups, 4).target(), 3))
    fetch, fails = opened.dataset._groups._fetch, [True]

    def away(key):
        if fails[0]:
            raise StorageError("away")
        return fetch(key)

    opened.dataset._groups._fetch = away
    with opened.target() as loader:
        for _ in range(2):
            with pytest.raises(StorageError, match="away"):
                loader.next_batch()
        fails[0] = False
        assert rows_of([loader.next_batch() for _ in range(3)]) == expected


@KINDS
def test_another_order_does_not_take_over(many_groups, fine_groups, kind):
    state = getattr(Opened(many_groups, 4), kind)().state_dict()
    for other in (Opened(many_groups, 6), Opened(many_groups, 12), Opened(fine_groups, 14)):
        with getattr(other, kind)() as loader, pytest.raises(CheckpointError, match=r"batches came from mini .*, now"):
            loader.load_state_dict(state)


def test_counts_tell_images_waiting_and_reading(many_groups):
    opened = Opened(many_groups, 4)
    with opened.target() as loader:
        for _ in range(3):
            loader.next_batch()
        counts = loader.counts()
    assert counts.images == 18
    assert counts.stall_s > 0
    assert counts.requests > 0
    assert counts.read_bytes > 30 * 48 * 24 * 3
    assert counts.retries == counts.hedges == 0


def test_a_window_too_small_for_a_batch_is_refused(many_groups):
    with pytest.raises(UsageError, match=r"holds 1 row groups, but 2 identities of up to 2 row groups may need 4"):
        Opened(many_groups, 1).target()
    assert len(take(Opened(many_groups, 1).external(), 1)[0]) == 4


def test_a_window_as_large_as_the_set_is_the_whole_set(many_groups):
    opened = Opened(many_groups, 12)
    whole = Opened(many_groups, 12)
    whole.data = whole.data.model_copy(update={"window_mb": "all"})
    assert rows_of(take(opened.target(), STEPS)) == rows_of(take(whole.target(), STEPS))


def test_a_window_that_memory_cannot_hold_is_refused():
    with pytest.raises(ValueError, match=re.escape("data.window_mb is 600, which data.cache_mb=512 cannot hold")):
        DataConfig(target=str(Path("x")), window_mb=600)
