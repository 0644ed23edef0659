"""Reads what Prometheus would read from Ray's nodes."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Mapping

import ray
from prometheus_client.parser import text_string_to_metric_families

from rlq_ray.distributed.meters import FIGURES

Figures = Mapping[tuple[str, ...], float]
"""Values by the name of a figure and the values of its labels."""
PATIENCE_S = 60


def endpoints() -> list[str]:
    """Give host:port of the connected cluster's nodes."""
    return [f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}" for node in ray.nodes() if node["Alive"]]


def read_figures() -> Figures:
    """Read a training's figures from all nodes, added up where several workers count the same."""
    labels = {f"ray_{figure.name}": figure.labels for figure in FIGURES}
    found: dict[tuple[str, ...], float] = {}
    for endpoint in endpoints():
        with urllib.request.urlopen(f"http://{endpoint}/metrics", timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            for sample in (sample for family in families for sample in family.samples if sample.name in labels):
                values = (sample.labels[label] for label in labels[sample.name])
                key = (sample.name.removeprefix("ray_"), *values)
                found[key] = found.get(key, 0) + sample.value
    return found


def wait_for_figures(is_there: Callable[[Figures], bool]) -> Figures:
    """Read figures until what is waited for is there; Ray hands them on every 10 s."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_there(figures := read_figures()):
        assert time.monotonic() < deadline_s, figures
        time.sleep(1)
    return figures
