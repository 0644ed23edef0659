"""What a training and a sweep take is told from counts and timed steps, by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from pipelines.forecast import training
from pipelines.forecast.place import GIB, memory_remarks
from pipelines.forecast.sweep import SweepCost, least_share
from pipelines.forecast.table import forecast_table, seconds_of, size, span
from pipelines.forecast.training import Range, TrainingCost
from pipelines.recipe import read_experiment
from rlq_ray.train.rehearsal import PhaseCost, Rehearsal
from rlq_ray.types import Foresight
from tuning.room import Need
from tuning.settings import BudgetConfig, StoppingConfig

SOURCES = ["data.target=/t", "data.external=/e", "teacher=/c"]
READS = Foresight((100, 40), 120, 1000, is_kept=False)


@pytest.fixture(autouse=True)
def _plain_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take what is measured as it is, so that sums can be made by hand."""
    for name in ("STEP_SPREAD", "ONCE_SPREAD", "START_SPREAD"):
        monkeypatch.setattr(training, name, (1.0, 1.0))
    monkeypatch.setattr(training, "MEMORY_SPARE", 1.0)


def rehearsal(**more: Any) -> Rehearsal:
    phases = {
        "cap": PhaseCost((1.0, 2.0, 4.0), 32, steps=40, steps_per_epoch=10, reads=READS),
        "tad": PhaseCost((0.5, 0.5, 0.5), 64, steps=20, steps_per_epoch=5, reads=READS),
    }
    own: dict[str, Any] = {
        "build_s": 3.0,
        "phases": phases,
        "evaluation_s": 5.0,
        "evaluations": 2,
        "evaluation_read_bytes": 7,
        "checkpoint_s": 1.0,
        "checkpoint_bytes": 1000,
        "peak_bytes": 500,
        "cache_growth_bytes": 50,
        "gpu_peak_bytes": None,
        "gpu_total_bytes": None,
    }
    return Rehearsal(**{**own, **more})


def measured(*workers: Rehearsal, start_s: float = 10.0) -> Any:
    return SimpleNamespace(start_s=start_s, training=workers, teacher=())


def config_of(*overrides: str) -> Any:
    return read_experiment("tiny_rlq", [*SOURCES, "train.steps_per_epoch=10", "train.epochs=4", *overrides])


def test_the_time_of_a_training_is_that_of_its_steps_evaluations_and_start() -> None:
    cost = TrainingCost.of([measured(rehearsal())])
    config = config_of("schedule.cap_steps=2", "train.evaluate_every_epochs=2")
    assert cost.counts(config) == {"cap": 40, "tad": 20}
    assert cost.images(config) == 40 * 32 + 20 * 64
    assert cost.steps["cap"].seconds == Range(1.5, 3.0), "means of the faster and the slower two of three"
    assert cost.course_s(config) == Range(40 * 1.5 + 20 * 0.5 + 2 * 6, 40 * 3.0 + 20 * 0.5 + 2 * 6)
    assert cost.whole_s(config).low == cost.course_s(config).low + 10 + 3


def test_another_configuration_has_other_counts() -> None:
    cost = TrainingCost.of([measured(rehearsal())])
    assert cost.counts(config_of("schedule.tad_steps=4", "train.steps_per_epoch=3")) == {"cap": 12, "tad": 48}
    assert cost.counts(config_of("schedule.tad_steps=0")) == {"cap": 40, "tad": 0}
    whole_passes = config_of("schedule.granularity=epoch", "schedule.tad_steps=1")
    assert cost.counts(whole_passes) == {"cap": 40, "tad": 4 * 5}


def test_memory_is_that_of_the_largest_worker_with_what_caches_may_take() -> None:
    cost = TrainingCost.of(
        [measured(rehearsal(), rehearsal(peak_bytes=600)), measured(rehearsal(cache_growth_bytes=200))]
    )
    assert cost.memory_bytes == Range(600, 700)
    assert cost.gpu_bytes is None
    on_gpu = TrainingCost.of([measured(rehearsal(gpu_peak_bytes=30, gpu_total_bytes=80))])
    assert on_gpu.gpu_bytes == Range(30, 30)


def test_reads_are_those_of_all_workers_and_epochs() -> None:
    cost = TrainingCost.of([measured(rehearsal(), rehearsal())])
    assert cost.read_first_epoch_bytes == 2 * 2 * 100
    each = 100 + 3 * 40  # four passes over each phase's data
    assert cost.read_bytes == Range(2 * 2 * each + 2 * 7, 2 * 2 * each + 2 * 7 * 2), "evaluations read once, or anew"


@pytest.mark.parametrize(
    ("kind", "grace", "reduction", "epochs", "share"),
    [
        ("none", 1, 2, 8, 1.0),
        ("asha", 4, 2, 8, (4 + 4 / 2) / 8),
        ("asha", 1, 2, 8, (1 + 1 / 2 + 2 / 4 + 4 / 8) / 8),
        ("asha", 1, 3, 3, (1 + 2 / 3) / 3),
        ("asha", 8, 2, 8, 1.0),
        ("median", 2, 2, 8, (2 + 8) / 2 / 8),
        ("median", 9, 2, 8, 1.0),
    ],
)
def test_early_stopping_leaves_at_least_a_share(
    kind: Any, grace: int, reduction: int, epochs: int, share: float
) -> None:
    stopping = StoppingConfig(kind=kind, grace_epochs=grace, reduction=reduction)
    assert least_share(stopping, epochs) == pytest.approx(share)


def sweep_cost(**more: Any) -> SweepCost:
    own: dict[str, Any] = {
        "rounds": [8, 4],
        "at_a_time": 2,
        "begin_s": Range(10, 20),
        "build_s": Range(1, 1),
        "course_s": Range(100, 200),
        "images": 1000,
        "kept_share": 0.5,
    }
    return SweepCost(**{**own, **more})


def test_a_sweep_takes_all_trainings_at_its_concurrency() -> None:
    assert sweep_cost().trained_s == Range(12 + 100 * (4 + 4), 12 * 201)
    assert sweep_cost().seconds(BudgetConfig()) == Range(812 / 2 + 10, 12 * 201 / 2 + 201 + 20)
    alone = sweep_cost(at_a_time=1, kept_share=1.0).seconds(BudgetConfig())
    assert alone == Range(12 * 101 + 10, 12 * 201 + 20)


def test_no_sweep_is_shorter_than_a_training() -> None:
    assert sweep_cost(rounds=[1], at_a_time=8).seconds(BudgetConfig()).high >= 201


def test_a_budget_ends_it_with_those_that_are_under_way() -> None:
    assert sweep_cost().seconds(BudgetConfig(hours=0.05)) == Range(180 + 10, 180 + 201 + 20)
    third = sweep_cost().seconds(BudgetConfig(images=4000))
    assert third.low == pytest.approx(812 / 2 / 3 + 10)
    assert sweep_cost().seconds(BudgetConfig(images=10**9, hours=99)) == sweep_cost().seconds(BudgetConfig())


def test_a_node_without_the_memory_is_told_with_the_arithmetic() -> None:
    cost = replace(TrainingCost.of([measured(rehearsal())]), memory_bytes=Range(2 * GIB, 3 * GIB))
    need = Need(1, {"cpu": 1})
    nodes = [{"CPU": 4, "memory": 7 * GIB, "object_store_memory": 1 * GIB}, {"CPU": 2, "memory": 5 * GIB}]
    assert memory_remarks(cost, need, 2, nodes) == []
    assert memory_remarks(cost, need, 3, nodes) == [
        "memory may not suffice: 3 workers may take 6.0 to 9.0 GiB together on a node that has 8.0 GiB for them"
    ]
    (full, last) = memory_remarks(replace(cost, memory_bytes=Range(6 * GIB, 6 * GIB)), need, 5, nodes)
    assert full.startswith("memory does not suffice: 4 workers may take 24.0 to 24.0 GiB")
    assert last.startswith("memory does not suffice: 1 worker may take 6.0")
    on_gpu = replace(cost, gpu_bytes=Range(70 * GIB, 90 * GIB), gpu_total_bytes=80 * GIB)
    assert "the GPU's memory may not suffice" in memory_remarks(on_gpu, need, 1, nodes)[0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "12 ms"),
        (1.26, "1.3 s"),
        (95, "95 s"),
        (300, "5 min"),
        (7300, "2 h"),
        (200_000, "2.3 days"),
        (0, "0 ms"),
    ],
)
def test_writes_times_to_two_digits(seconds: float, text: str) -> None:
    assert seconds_of(seconds) == text


def test_writes_sizes_and_ranges() -> None:
    assert size(1234) == "1.2 kB"
    assert size(3_210_000_000) == "3.2 GB"
    assert size(0) == "0 B"
    assert span((1e9, 1.2e9), size) == "1–1.2 GB"
    assert span((50, 300), seconds_of) == "50 s to 5 min"
    assert span((50, 50.2), seconds_of) == "50 s"


def test_a_forecast_is_json_and_can_be_read() -> None:
    plan = {
        "kind": "sweep",
        "name": "step-ratio",
        "steps": {"cap": {"count": 1200, "seconds": (0.1, 0.2), "images": 96, "tried": 8}},
        "epochs": 8,
        "evaluation_seconds": (1.0, 2.0),
        "start_seconds": (20.0, 50.0),
        "images": 10_000,
        "memory_bytes": (1e9, 1.2e9),
        "gpu_bytes": (3e9, 4e9),
        "read_bytes": (5e6, 5e6),
        "read_first_epoch_bytes": 4e6,
        "cluster": "2 CPU on 1 node",
        "workers": "1 CPU",
        "at_a_time": 2,
        "checkpoint_bytes": 1e6,
        "checkpoints": 25,
        "free_bytes": None,
        "remarks": ["memory may not suffice"],
        "configurations": 12,
        "training_seconds": (300.0, 600.0),
        "data_seconds": None,
        "teacher_seconds": (60.0, 70.0),
        "trainings": [12, 6, 3],
        "stopping": "asha",
        "seconds": (7200.0, 9000.0),
    }
    assert json.loads(json.dumps(plan))["trainings"] == [12, 6, 3]
    console = Console(file=StringIO(), width=120)
    console.print(forecast_table(plan))
    text = console.file.getvalue()
    for words in (
        "2 trainings at a time",
        "1,200 of 96 images, 100–200 ms each (8 tried)",
        "3–4 GB of the GPU",
        "12 + 6 + 3",
    ):
        assert words in text
    for words in ("60–70 s, once", "2–2.5 h for all; the less, the more asha stops early", "at most 25 of 1 MB, 25 MB"):
        assert words in text
    assert "beware" in text
