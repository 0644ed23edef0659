"""A real Prometheus reads a training, and every chart of the dashboard finds something to draw."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cluster.grafana import CHARTS, Chart
from cluster.processes import free_ports
from pipelines.places import Places
from pipelines.recipe import read_experiment
from pipelines.train import train
from rlq_ray.storage import locate
from tests.integration.figures import endpoints

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus: apt-get install prometheus"),
]
RUN, EPOCHS, RATE_INTERVAL_S, STEP_S = "watched", 24, 30, 2
WITHOUT_CAUSE = ("GPUs in use", "Reads tried again", "Reads asked for twice")
"""Charts that stay empty on a machine without a GPU whose store answers."""


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    url: str

    def answers(self) -> bool:
        try:
            return bool(urllib.request.urlopen(f"{self.url}/-/ready", timeout=5).status == 200)
        except OSError:
            return False

    def course(self, query: str, start_s: float, end_s: float) -> list[dict[str, Any]]:
        """Evaluate a query as a chart does; a chart without data has no line."""
        query = query.replace("$__rate_interval", f"{RATE_INTERVAL_S}s").replace("$run", ".+")
        asked = urllib.parse.urlencode({"query": query, "start": start_s, "end": end_s, "step": STEP_S})
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/query_range?{asked}", timeout=30) as answer:
                return list(json.load(answer)["data"]["result"])
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from error


@pytest.fixture(scope="module")
def prometheus(ray_cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    scrape = {"job_name": "ray", "static_configs": [{"targets": endpoints()}]}
    (folder / "prometheus.yml").write_text(
        json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]})  # JSON is YAML
    )
    (port,) = free_ports(1)
    options = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            ["prometheus", *options, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log
        )
    found = Prometheus(f"http://127.0.0.1:{port}")
    deadline_s = time.monotonic() + 60
    while not found.answers():
        assert server.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline_s
        time.sleep(0.5)
    yield found
    server.terminate()
    server.wait(30)


@pytest.fixture(scope="module")
def span_s(prometheus, tiny_people, mlflow_server, tmp_path_factory: pytest.TempPathFactory) -> tuple[float, float]:
    """Train with two workers, and give the time when that was."""
    sources = [f"data.{role}={tiny_people.shards[role]}" for role in ("target", "external")]
    settings = ["teacher=none", "loss.weights.feature_hq=0", "schedule.external=joint", "model.pose_branch=false"]
    rhythm = [f"train.epochs={EPOCHS}", f"train.evaluate_every_epochs={EPOCHS // 2}", "train.steps_per_epoch=8"]
    config = read_experiment("tiny_rlq", [*sources, *settings, *rhythm, "workers.count=2"])
    folder = tmp_path_factory.mktemp("runs")
    start_s = time.time()
    train(config, Places(locate(str(folder)), mlflow_server.uri, None), name=RUN)
    return start_s, time.time()


@pytest.mark.parametrize("chart", [chart for row in CHARTS.values() for chart in row], ids=lambda chart: chart.title)
def test_every_chart_has_lines(chart: Chart, prometheus: Prometheus, span_s: tuple[float, float]) -> None:
    lines = prometheus.course(chart.query, *span_s)
    if chart.title in WITHOUT_CAUSE:
        return
    assert lines
    values = [float(value) for line in lines for _, value in line["values"]]
    finite = [value for value in values if math.isfinite(value)]
    assert finite
    assert min(finite) >= 0
    if chart.top is not None:
        assert max(finite) <= chart.top


def test_each_worker_tells_how_long_it_waits(prometheus: Prometheus, span_s: tuple[float, float]) -> None:
    (chart,) = [chart for chart in CHARTS["Data"] if chart.title == "Waiting for data"]
    assert {line["metric"]["rank"] for line in prometheus.course(chart.query, *span_s)} == {"0", "1"}


def test_what_was_trained_is_what_was_counted(prometheus: Prometheus, span_s: tuple[float, float]) -> None:
    query = f'sum by (phase) (ray_rlq_steps_total{{run="{RUN}"}})'
    lines = prometheus.course(query, *span_s)
    most = {line["metric"]["phase"]: max(float(value) for _, value in line["values"]) for line in lines}
    assert most == {"cap": EPOCHS * 8, "joint": EPOCHS * 8}
