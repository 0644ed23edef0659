"""A training that changes on the way: laid out, carried out, and taken over from one that knew of no change."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from rlq_ray.collectives import World
from rlq_ray.config.schema import ExperimentConfig, ScheduleConfig, Staged
from rlq_ray.train.build import build
from rlq_ray.train.loop import Plan, StepRecord, fit
from rlq_ray.train.schedule import Timeline, learning_rate
from rlq_ray.train.state import TrainState

CPU = torch.device("cpu")
CAP_EPOCH, TAD_PASS = 3, 2


def lay_out(granularity: str, epochs: int, ratios: dict[int, tuple[int, int]]) -> Timeline:
    """Plan ratios of CAP to TAD units by the epoch that they hold from."""
    schedules = [
        ScheduleConfig.model_validate({"cap_steps": cap, "tad_steps": tad, "granularity": granularity})
        for cap, tad in ratios.values()
    ]
    staged = Staged(tuple(ratios), tuple(schedules))
    return Timeline.plan(staged, epochs=epochs, cap_steps_per_epoch=CAP_EPOCH, tad_steps_per_epoch=TAD_PASS)


def walk(granularity: str, epochs: int, ratios: dict[int, tuple[int, int]]) -> str:
    """Tell the phases step by step, without looking ahead."""
    told, place = "", 0
    while (done := told.count("c")) < epochs * CAP_EPOCH:
        cap, tad = ratios[max(epoch for epoch in ratios if epoch * CAP_EPOCH <= done)]
        if granularity == "epoch":
            cap, tad = cap * CAP_EPOCH, tad * TAD_PASS
        if told.endswith("c") and done in {epoch * CAP_EPOCH for epoch in ratios}:
            place = 0
        told += "t" if place < tad else "c"
        place = (place + 1) % (cap + tad)
    return told


@pytest.mark.parametrize(
    ("granularity", "ratios", "story"),
    [
        ("step", {0: (1, 1), 1: (1, 2)}, "tctctc" + "ttcttcttc"),
        ("step", {0: (2, 1), 1: (1, 1)}, "tcctc" + "tctctc"),
        ("step", {0: (9, 1), 1: (9, 1)}, "tccc" + "tccc"),
        ("step", {0: (1, 0), 1: (2, 0)}, "cccccc"),
        ("epoch", {0: (1, 1), 1: (1, 2)}, "ttccc" + "ttttccc"),
        ("epoch", {0: (2, 1), 1: (1, 1)}, "ttccc" + "ttccc"),
    ],
)
def test_another_ratio_begins_a_cycle_of_its_own(granularity: str, ratios: dict, story: str) -> None:
    timeline = lay_out(granularity, 2, ratios)
    assert "".join(timeline.phase(step)[0] for step in range(timeline.total_steps)) == story


@pytest.mark.parametrize("seed", range(60))
def test_agrees_with_a_walk_step_by_step(seed: int) -> None:
    rng = np.random.default_rng(seed)
    granularity, epochs = ("step", "epoch")[seed % 2], int(rng.integers(3, 8))
    later = rng.choice(np.arange(1, epochs), size=rng.integers(0, 3), replace=False)
    ratios = {epoch: (int(rng.integers(1, 6)), int(rng.integers(1, 5))) for epoch in (0, *sorted(later.tolist()))}
    timeline, story = lay_out(granularity, epochs, ratios), walk(granularity, epochs, ratios)
    steps = range(len(story))
    assert timeline.total_steps == len(story)
    assert "".join(timeline.phase(step)[0] for step in steps) == story
    cap_steps = [story[:step].count("c") for step in range(len(story) + 1)]
    assert [timeline.cap_steps_before(step) for step in steps] == cap_steps[:-1]
    assert [timeline.epoch(step) for step in steps] == [num / CAP_EPOCH for num in cap_steps[:-1]]
    ends = [a < b and b % CAP_EPOCH == 0 for a, b in pairwise(cap_steps)]
    assert [timeline.ends_epoch(step) for step in steps] == ends
    assert [timeline.steps_until(epoch) for epoch in range(epochs + 1)] == [
        cap_steps.index(epoch * CAP_EPOCH) for epoch in range(epochs + 1)
    ]


def test_before_a_stage_nothing_knows_of_it() -> None:
    plain, staged = (lay_out("step", 5, ratios) for ratios in ({0: (2, 1)}, {0: (2, 1), 3: (1, 3)}))
    begin = plain.steps_until(3)
    assert staged.steps_until(3) == begin
    for tell in ("phase", "epoch", "cap_steps_before", "ends_epoch"):
        ours, theirs = ([getattr(line, tell)(step) for step in range(begin)] for line in (staged, plain))
        assert ours == theirs, tell
    assert staged.phase(begin) == "tad"


@dataclass
class Memory:
    """Keeps what a training told, and its state after each evaluation."""

    records: list[StepRecord] = field(default_factory=list)
    states: list[dict] = field(default_factory=list)

    def after_step(self, record: StepRecord) -> None:
        self.records.append(record)

    def after_epoch(self, state: TrainState, epoch: int, metrics: Mapping[str, float], *, is_best: bool) -> None:
        self.states.append(copy.deepcopy(state.state_dict()))


def run(config: ExperimentConfig, resume: dict | None = None) -> Memory:
    parts, memory = build(config, world=World(), device=CPU), Memory()
    if resume:
        parts.state.load_state_dict(copy.deepcopy(resume))
    plan = Plan(parts.timeline, config.staged_optimizer, config.train, "score", CPU)
    fit(parts.state, plan, lambda: {"score": float(parts.state.step)}, memory)
    parts.close()
    return memory


def told(memory: Memory) -> list[tuple]:
    return [(r.step, r.phase, r.names, r.terms_N.tolist(), r.learning_rate) for r in memory.records]


def assert_equal(ours: Any, theirs: Any, name: str = "state") -> None:
    """Compare states bit by bit."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), name
        for key in ours:
            assert_equal(ours[key], theirs[key], f"{name}.{key}")
    elif isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), name
    else:
        assert ours == theirs, name


BASE = (
    *("train.epochs=3", "schedule.granularity=step", "schedule.cap_steps=2", "loss.clothes_from_epoch=0"),
    *(f"loss.weights.{term}=0" for term in ("feature_hq", "feature_lq", "clothes_adversarial", "pose", "disentangle")),
)
"""Without teacher, clothes classifier or gradient of the pose branch; an epoch of 3 CAP steps ends in mid-cycle."""
FIRST = "{from_epoch=1, tad_steps=2, learning_rate=0.002, weights={feature_lq=2, clothes_adversarial=0.3, pose=1}}"
SECOND = "{from_epoch=2, cap_steps=1, weights={clothes_adversarial=0, agreement_clothes=0.5, triplet=0, feature_lq=0}}"


@pytest.fixture(scope="module")
def configs(configure) -> list[ExperimentConfig]:
    """Without stages, with one, with both."""
    return [configure("tiny_rlq", *BASE, f"stages=[{text}]") for text in ("", FIRST, f"{FIRST}, {SECOND}")]


@pytest.fixture(scope="module")
def memories(configs: list[ExperimentConfig]) -> list[Memory]:
    return [run(config) for config in configs]


def test_takes_weights_ratio_and_rate_of_the_stage(configs: list[ExperimentConfig], memories: list[Memory]) -> None:
    records = memories[2].records
    assert "".join(record.phase[0] for record in records) == "tcctc" + "ttccttc" + "ttcttcttc"
    cap = {"identity_clothes", "identity", "agreement", "triplet", "gender"}
    names = [
        {record.phase: set(record.names) for record in part} for part in (records[:5], records[5:12], records[12:])
    ]
    assert names == [
        {"tad": {"agreement_lq"}, "cap": cap},
        {"tad": {"agreement_lq", "feature_lq"}, "cap": cap | {"clothes_adversarial", "pose"}},
        {"tad": {"agreement_lq", "agreement_clothes"}, "cap": cap - {"triplet"} | {"pose"}},
    ]
    for record, epoch in ((records[4], 2 / 3), (records[5], 1), (records[12], 2)):
        optimizer = configs[0].optimizer.model_copy(update={"learning_rate": 0.002} if epoch >= 1 else {})
        assert record.learning_rate == pytest.approx(learning_rate(optimizer, epoch=epoch, epochs=3))


def test_until_it_begins_a_stage_changes_nothing(memories: list[Memory]) -> None:
    plain, once, twice = memories
    assert told(once)[:5] == told(plain)[:5]
    assert told(once)[5:] != told(plain)[5:]
    assert told(twice)[:12] == told(once)[:12]
    for part in ("network", "optimizer", "loaders", "step", "best"):
        assert_equal(once.states[0][part], plain.states[0][part], part)
    assert_equal(twice.states[1], once.states[1])


def test_continued_under_another_stage_equals_uninterrupted(
    configs: list[ExperimentConfig], memories: list[Memory]
) -> None:
    plain, once, twice = memories
    assert plain.states[0]["clothes"] is None, "the stages alone ask for a clothes classifier"
    continued = run(configs[1], resume=plain.states[0])
    assert told(continued) == told(once)[5:]
    assert_equal(continued.states[-1], once.states[-1])
    again = run(configs[2], resume=continued.states[0])
    assert told(again) == told(twice)[12:]
    assert_equal(again.states[-1], twice.states[-1])


def test_a_classifier_begun_by_a_stage_is_asked_only_once_it_is_trained(configure) -> None:
    later = "stages=[{from_epoch=1, weights={agreement_clothes=1}}]"
    records = run(configure("tiny_rlq", *BASE, later)).records
    assert "".join(record.phase[0] for record in records) == "tcctc" + "tcctc" + "ctcc"
    asked = ["agreement_clothes" in record.names for record in records if record.phase == "tad"]
    assert asked == [False, False, False, False, True]
