"""A training that is stopped between two steps leaves a checkpoint and every loss behind, and goes on from there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from rlq_ray.collectives import World
from rlq_ray.distributed.progress import nobody
from rlq_ray.distributed.reporting import SCORE
from rlq_ray.distributed.training import run_training
from rlq_ray.storage import locate
from rlq_ray.tracking import MetricPoint, NullTracker
from rlq_ray.train.checkpoint import read_card, read_state


class Memory(NullTracker):
    """Keeps what a tracker is told."""

    def __init__(self) -> None:
        self.points: list[MetricPoint] = []

    def log_metric_history(self, points: Iterable[MetricPoint]) -> None:
        self.points += points

    def losses(self) -> list[tuple[int, float]]:
        return [(point.step, point.value) for point in self.points if point.name in ("cap/loss", "tad/loss")]


def test_no_loss_is_told_twice_and_none_is_missing(configure: Callable[..., Any], tmp_path: Path) -> None:
    config = configure("tiny_rlq", "train.log_every_steps=4")
    reports: dict[str, Mapping[str, float]] = {}

    def keep(report: Mapping[str, float], name: str, folder: Path | None) -> None:
        assert folder is not None
        assert name not in reports
        reports[name] = dict(report)
        shutil.copytree(folder, tmp_path / name)

    def train(state: dict[str, Any] | None = None, stop_at: int | None = None) -> Memory:
        tracker = Memory()
        ended = run_training(
            config,
            run="tiny",
            world=World(),
            device=torch.device("cpu"),
            store=locate(tmp_path),
            tracker=tracker,
            tell=nobody,
            keep=keep,
            state=state,
            should_stop=lambda step: step == stop_at,
        )
        assert ended == ("finished" if stop_at is None else "stopped")
        return tracker

    before = train(stop_at=9)
    assert list(reports) == ["epoch_00001", "step_00000009"], "6 steps are an epoch"
    stopped = reports["step_00000009"]
    assert (stopped["epoch"], stopped["step"]) == (1, 9)
    assert stopped[SCORE] < 0 <= reports["epoch_00001"][SCORE], "nobody takes it for the best"
    place = locate(tmp_path / "step_00000009")
    assert (read_card(place).epoch, read_card(place).step, read_card(place).metrics) == (1, 9, {})
    after = train(state=read_state(place))
    assert list(reports)[2:] == ["epoch_00002"]
    shutil.rmtree(tmp_path / "epoch_00001")
    shutil.rmtree(tmp_path / "epoch_00002")
    told = before.losses() + after.losses()
    assert [step for step, _ in told] == list(range(12))
    reports.clear()
    assert train().losses() == told
