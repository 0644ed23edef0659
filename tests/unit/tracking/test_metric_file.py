import json

import pytest

from rlq_ray.tracking import MetricPoint
from rlq_ray.tracking.metric_file import append_points, checked_name


@pytest.mark.parametrize("name", ["loss/total", "cc/mAP", "rank 1", "a_b.c:d"])
def test_takes_names_that_stores_take(name):
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", "mAP@5", "a=b", "a\nb"])
def test_refuses_names_that_stores_refuse(name):
    with pytest.raises(ValueError, match="is not storable: use letters"):
        checked_name(name)


def test_appends_valid_json_lines(tmp_path):
    path = tmp_path / "deep" / "metrics.jsonl"
    append_points(path, [MetricPoint("a", 1.5, 0)])
    append_points(path, [MetricPoint("a", float("nan"), 1), MetricPoint("b", 2.0, 1)])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["name"], line["value"], line["step"]) for line in lines] == [
        ("a", 1.5, 0),
        ("a", None, 1),
        ("b", 2.0, 1),
    ]
