"""Shards are Parquet that others read too: Ray Data here, DuckDB and pandas in the unit tests."""

from __future__ import annotations

import io

from PIL import Image

from rlq_ray.data import DataSet


def test_ray_data_reads_the_images(ray_cluster, tiny_people) -> None:
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    dataset = DataSet.open(tiny_people.shards["target"])
    rows = ray.data.read_parquet(f"{tiny_people.shards['target']}/shards").take_all()
    assert len(rows) == len(dataset) == 64
    assert {row["identity"] for row in rows} == set(dataset.index.identity)
    with Image.open(io.BytesIO(rows[0]["image"]["bytes"])) as image:
        assert image.size == (64, 128)
