"""Loaders that stream through a window: the same batches for any workers, each row group read once, few held."""

from __future__ import annotations

import re
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from rlq_ray.config.schema import BatchConfig, DataConfig
from rlq_ray.data import DataSet, ExternalLoader, TargetLoader, finish_ingest, plan_ingest, split_training, write_shard
from rlq_ray.errors import UsageError
from rlq_ray.types import Batch

BATCH = BatchConfig(identities=2, images_per_identity=3, external_images=4)
TWO_LANES = BatchConfig(external_images=16)
STEPS = 6
ROWS_PER_GROUP = 3


@pytest.fixture(scope="module")
def many_groups(shared_folder, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The miniature set in row groups of three images, two to each of six training identities."""
    to = str(tmp_path_factory.mktemp("many") / "set")
    plan = plan_ingest(shared_folder.root, "ltcc", to, name="mini", shard_rows=ROWS_PER_GROUP)
    finish_ingest(plan, [write_shard(job) for job in plan.jobs])
    return to


class Opened:
    """A data set opened anew, so that what it reads can be counted."""

    def __init__(self, uri: str, groups: float) -> None:
        self.dataset = DataSet.open(uri)
        self.rows = np.flatnonzero(self.dataset.index.split.equals("train"))
        group_bytes = self.dataset.group_bytes(np.unique(self.dataset.index.group[self.rows]), masks=False) / 12
        self.data = DataConfig(
            target="-",
            canvas_height=48,
            canvas_width=24,
            window_mb=(groups + 0.5) * group_bytes / 2**20,
            cache_mb=1,
            read_ahead_batches=1,
        )

    def target(self, rank: int = 0, world_size: int = 1) -> TargetLoader:
        split = split_training(self.dataset.index, pose_clusters=0, validation_fraction=0)
        place = {"rank": rank, "world_size": world_size, "steps_per_epoch": STEPS}
        return TargetLoader(self.dataset, split.train_rows, split.classes, batch=BATCH, data=self.data, seed=1, **place)

    def external(self, rank: int = 0, world_size: int = 1, batch: BatchConfig = BATCH) -> ExternalLoader:
        place = {"rank": rank, "world_size": world_size}
        return ExternalLoader(self.dataset, self.rows, batch=batch, data=self.data, seed=1, **place)


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
    assert state == {"epoch": 4 // loader.steps_per_epoch, "step": 4 % loader.steps_per_epoch}
    joined = [list(chain(*step)) for step in zip(*parts, strict=True)]
    parts = []
    for rank in range(after):
        loader = getattr(Opened(many_groups, 4), kind)(rank, after)
        loader.load_state_dict(state)
        parts.append(rows_of(take(loader, 2 * STEPS - 4)))
    joined += [list(chain(*step)) for step in zip(*parts, strict=True)]
    assert joined == whole


def test_every_unlabelled_image_comes_once_an_epoch_whoever_reads(many_groups):
    epochs = []
    for world_size in (1, 2, 4):
        loaders = [Opened(many_groups, 2).external(rank, world_size) for rank in range(world_size)]
        assert {loader.steps_per_epoch for loader in loaders} == {9}
        rows = [row for loader in loaders for batch in rows_of(take(loader, 9)) for row in batch]
        assert Counter(rows) == Counter(range(36))
        epochs.append(rows)


@pytest.mark.parametrize(("kind", "batch"), [("target", {}), ("external", {"batch": TWO_LANES})])
def test_a_row_group_is_read_once_an_epoch_and_by_one_rank(many_groups, kind, batch):
    requests = []
    for rank in range(2):
        opened = Opened(many_groups, 4)
        opened.data = opened.data.model_copy(update={"cache_mb": 0, "read_ahead_batches": 0, "prefetch_batches": 0})
        loader = getattr(opened, kind)(rank, 2, **batch)
        take(loader, loader.steps_per_epoch)
        requests.append(loader.counts().requests)
    shared = 1 if kind == "external" else 0  # where the stretches of two lanes meet
    assert 11 <= sum(requests) <= 12 + shared  # the external epoch leaves out what fills no batch


@KINDS
def test_few_row_groups_are_held(many_groups, kind):
    opened = Opened(many_groups, 4)
    opened.data = opened.data.model_copy(update={"cache_mb": 0})
    with getattr(opened, kind)() as loader:
        for _ in range(3 * loader.steps_per_epoch):
            loader.next_batch()
            ahead = opened.data.prefetch_batches + opened.data.read_ahead_batches + 1
            assert len(opened.dataset._groups) <= 4 + 2 * ahead


def test_counts_tell_images_waiting_and_reading(many_groups):
    opened = Opened(many_groups, 4)
    with opened.target() as loader:
        for _ in range(3):
            loader.next_batch()
        counts = loader.counts()
    assert counts.images == 18
    assert counts.stall_s > 0
    assert counts.requests > 0
    assert counts.read_bytes > 3 * 48 * 24
    assert counts.retries == counts.hedges == 0


def test_a_window_too_small_for_a_batch_is_refused(many_groups):
    with pytest.raises(UsageError, match=r"holds 1 row groups of .*, but a batch draws from 2 at once: set it to \d+"):
        Opened(many_groups, 1).target()


def test_a_window_as_large_as_the_set_is_the_whole_set(many_groups):
    opened = Opened(many_groups, 12)
    whole = Opened(many_groups, 12)
    whole.data = whole.data.model_copy(update={"window_mb": "all"})
    assert rows_of(take(opened.target(), STEPS)) == rows_of(take(whole.target(), STEPS))


def test_a_window_that_memory_cannot_hold_is_refused():
    with pytest.raises(ValueError, match=re.escape("data.window_mb is 600, which data.cache_mb=512 cannot hold")):
        DataConfig(target=str(Path("x")), window_mb=600)
