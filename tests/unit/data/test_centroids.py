"""Clusters that were fitted once are given to later images."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest

from rlq_ray.data import DataSet, ingest
from rlq_ray.data.centroids import read_centroids, write_centroids
from rlq_ray.data.poses import PoseClusters
from rlq_ray.errors import DataError, UsageError

FITTED = tuple(PoseClusters(variant="R_A", k=k, centroids=((0.0,) * 13,) * k) for k in (1, 2))


def poses_of(uri: object) -> dict[str, int]:
    index = DataSet.open(str(uri)).index
    return dict(zip(index.source.tolist(), index.pose.tolist(), strict=True))


def test_images_that_come_later_do_not_move_the_earlier_ones(folder, tmp_path):
    side_files = dataclasses.replace(folder.side_files, gender=None, masks=None)
    later = sorted((folder.root / "LTCC_ReID" / "train").glob("00[345]*"))
    (tmp_path / "kept").mkdir()
    for file in later:
        shutil.move(file, tmp_path / "kept" / file.name)
    first = ingest(folder.root, "ltcc", tmp_path / "first", name="mini", side_files=side_files)
    for file in later:
        shutil.move(tmp_path / "kept" / file.name, file)
    given = dataclasses.replace(side_files, centroids=read_centroids(str(tmp_path / "first")))
    second = ingest(folder.root, "ltcc", tmp_path / "second", name="mini", side_files=given)
    refitted = ingest(folder.root, "ltcc", tmp_path / "refitted", name="mini", side_files=side_files)
    before, after, moved = (poses_of(tmp_path / name) for name in ("first", "second", "refitted"))
    assert second.pose == first.pose != refitted.pose
    assert len(after) == len(before) + len(later) == 48
    assert {source: after[source] for source in before} == before
    assert any(moved[source] != before[source] for source in before)


def test_a_file_gives_back_what_was_written(tmp_path):
    write_centroids(str(tmp_path / "c.json"), FITTED)
    assert read_centroids(str(tmp_path / "c.json"), k=2) == FITTED[1]
    with pytest.raises(UsageError, match="has the clusters R_A_1, R_A_2: choose one by --variant and --k"):
        read_centroids(str(tmp_path / "c.json"))
    with pytest.raises(DataError, match=r"has the clusters R_A_1, R_A_2, not R_LA_\*: choose --variant and --k"):
        read_centroids(str(tmp_path / "c.json"), variant="R_LA")


def test_what_holds_no_centroids_is_refused(folder, tmp_path):
    ingest(folder.root, "ltcc", tmp_path / "plain", name="mini")
    with pytest.raises(DataError, match="plain has no centroids"):
        read_centroids(str(tmp_path / "plain"))
    (tmp_path / "c.json").write_text("[]")
    with pytest.raises(DataError, match=r"c\.json holds no centroids"):
        read_centroids(str(tmp_path / "c.json"))


def test_many_vectors_are_assigned_as_few_are():
    generator = np.random.default_rng(0)
    clusters = PoseClusters(variant="R_A", k=3, centroids=tuple(map(tuple, generator.normal(0, 1, (3, 13)).tolist())))
    vectors = generator.normal(0, 1, (5000, 13))
    alone = [int(clusters.assign(vector[None])[0]) for vector in vectors[::97]]
    assert clusters.assign(vectors)[::97].tolist() == alone
