"""The dashboard draws every figure that a training shows, and nothing that there is not."""

from __future__ import annotations

import json
import re
from itertools import combinations

import pytest
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel, RowPanel

from cluster.grafana import CHARTS, Chart, dashboard_json
from rlq_ray.distributed.meters import FIGURES

ALL = [chart for charts in CHARTS.values() for chart in charts]
OWN = re.compile(r"ray_(rlq_\w+)")


def panels() -> list[Panel | RowPanel]:
    board = Dashboard.from_json(json.loads(dashboard_json()))
    return board.panels or []


def test_every_figure_is_drawn_and_no_other() -> None:
    drawn = {name for chart in ALL for name in OWN.findall(chart.query)}
    assert drawn == {figure.name for figure in FIGURES}


@pytest.mark.parametrize("chart", ALL, ids=lambda chart: chart.title)
def test_labels_are_those_of_the_figure(chart: Chart) -> None:
    for label in re.findall(r"{{(\w+)}}", chart.legend):
        assert re.search(rf'by \([^)]*\b{label}\b|"{label}"', chart.query), "Grafana would write nothing"
    known = {label for figure in FIGURES if figure.name in chart.query for label in figure.labels}
    for grouped in re.findall(r"by \(([^)]*)\)", chart.query):
        assert set(re.split(r",\s*", grouped)) <= known | {"NodeAddress", "GpuIndex"}


def test_charts_lie_side_by_side() -> None:
    places = [panel.grid_pos for panel in panels()]
    assert len(places) == len(ALL) + len(CHARTS)
    for one, other in combinations(places, 2):
        assert one is not None
        assert other is not None
        apart = one.x + one.w <= other.x or other.x + other.w <= one.x
        assert apart or one.y + one.h <= other.y or other.y + other.h <= one.y
        assert one.x + one.w <= 24


def test_charts_say_what_they_tell() -> None:
    for panel in panels():
        if isinstance(panel, Panel):
            assert panel.title
            assert panel.description
            assert panel.datasource is not None
            assert panel.datasource.uid == "${datasource}"
