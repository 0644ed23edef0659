"""The model of docs/scale.md computes what one computes by hand, and the page holds what it gives."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

from tests.benchmarks.scaling import report
from tests.benchmarks.scaling.model import (
    Assumptions,
    Case,
    amplification,
    dollars,
    first,
    loads,
    predict_reading,
    predict_tracking,
    times,
)

DOCS = Path(__file__).parents[2] / "docs"
UNITS = defaultdict(lambda: 1e-6, requests_per_image=1 / 200, read_bytes_per_image=1e4, parameters=25e6)


def test_readers_beyond_the_lanes_read_together() -> None:
    assert [amplification(readers) for readers in (1, 16, 64)] == [1, 1, 4]
    most = {"readers": 64, "most_images_per_s": 2500, "seconds": 64}
    said = predict_reading(UNITS, demand=1e3, **most)
    assert said == pytest.approx({"images_per_s": 1e3, "requests_per_s": 20 + 2, "bytes_per_s": 4e7 + 4e6})
    assert predict_reading(UNITS, demand=1e6, **most)["images_per_s"] == 2500


def test_loads_are_shares_of_what_each_part_can_do() -> None:
    own = Assumptions(gpu_images_per_s=1000, gpu_images_per_step=100, prefix_gets_per_s=5000)
    alone, many = (loads(Case(gpus, 1e6), UNITS, own) for gpus in (1, 512))
    assert alone["S3 requests"] == pytest.approx(1000 / 200 / 5000)
    assert many["S3 requests"] == pytest.approx(512 * 1000 / 200 * 32 / 5000)
    assert alone["exchange of gradients"] == 0
    assert many["exchange of gradients"] == pytest.approx(100e6 * 2 * 511 / 512 / 50e9 / 0.1)
    assert many["planning, one thread a worker"] == pytest.approx(512 * 1000 * 1e-6)
    assert first(many) == "S3 requests"


def test_trainings_that_share_gpus_read_apart_and_write_more() -> None:
    one, many = (loads(Case(512, 1e6, trainings), UNITS, Assumptions()) for trainings in (1, 64))
    assert many["S3 requests"] == pytest.approx(one["S3 requests"] / 32)
    assert many["MLflow"] == pytest.approx(one["MLflow"] * 64)


def test_an_epoch_takes_as_long_as_its_images_and_costs_its_hours() -> None:
    own = Assumptions(gpu_images_per_s=1000, gpu_hour_dollars=5)
    assert times(Case(8, 3.6e6), UNITS, own)["epoch"] == 450
    assert dollars(Case(8, 3.6e6), UNITS, own)["GPUs"] == pytest.approx(5)


def test_trackers_that_wait_send_more_at_once() -> None:
    units = {"call_s": 0.05, "large_call_s": 0.13}  # 30 ms and 0.1 ms a point
    assert predict_tracking(units, demand=10, points=200) == (10, "keeps up")
    calls, how = predict_tracking(units, demand=30, points=200)
    assert (how, calls) == ("keeps up", pytest.approx((1 - 0.6) / 0.03))
    assert predict_tracking(units, demand=60, points=200)[1] == "falls behind"


def test_the_page_holds_the_tables() -> None:
    page = (DOCS / "scale.md").read_text()
    for title, table in report.tables(json.loads((DOCS / "benchmarks" / "scale.json").read_text())).items():
        assert table in page, title
