from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from rlq_ray.collectives import World
from rlq_ray.train.build import build
from rlq_ray.train.gradients import GradientComparison
from rlq_ray.train.loop import Plan, train_step
from rlq_ray.train.schedule import Ratio, Timeline, learning_rate

COSINE, RATIO = "diagnostics/gradient_cosine", "diagnostics/gradient_norm_ratio"


class Shared(nn.Module):
    """One parameter of both phases, and one that the first alone trains."""

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Parameter(torch.zeros(2))
        self.own = nn.Parameter(torch.zeros(1))


def leave(comparison: GradientComparison, network: Shared, step: int, phase: str, gradient: list[float]) -> None:
    """Leave behind what a step does; the gradients are written over in place, which optimisers may."""
    if network.both.grad is None:
        network.both.grad = torch.zeros(2)
    network.both.grad.copy_(torch.tensor(gradient, dtype=torch.float32))
    network.own.grad = torch.full((1,), 100.0) if phase == "cap" else None
    comparison.after_step(step, phase, network)
    assert torch.equal(network.both.grad, torch.tensor(gradient, dtype=torch.float32))


def test_nothing_to_tell_before_anything_happened() -> None:
    assert GradientComparison(Timeline(2, 2, 1, 1), 1).take() == {}


def test_one_phase_has_no_neighbour() -> None:
    comparison, network = GradientComparison(Timeline(2, 2, 1, 0), 1), Shared()
    for step in range(4):
        leave(comparison, network, step, "cap", [1, 0])
    assert comparison.take() == {}


def test_cosine_and_ratio_by_hand() -> None:
    """TAD, CAP, TAD, CAP: angles 0°, 60° and 90° between neighbours; norms 2 to 1, 2 to 4, 3 to 4."""
    comparison, network = GradientComparison(Timeline(1, 2, 1, 1), 1), Shared()
    leave(comparison, network, 0, "tad", [1, 0])
    leave(comparison, network, 1, "cap", [2, 0])
    leave(comparison, network, 2, "tad", [2, 2 * math.sqrt(3)])
    leave(comparison, network, 3, "cap", [-1.5 * math.sqrt(3), 1.5])
    found = comparison.take()
    assert found[COSINE] == pytest.approx((1 + 0.5 + 0) / 3, abs=1e-6)
    assert found[RATIO] == pytest.approx((2 / 1 * 2 / 4 * 3 / 4) ** (1 / 3)), "CAP over TAD, whichever comes first"
    assert comparison.take() == {}


def test_compares_across_the_change_alone() -> None:
    """T C C T C C, evaluated after two CAP steps each: neighbours are the last of one phase, the first of the other."""
    comparison, network = GradientComparison(Timeline(2, 2, 2, 1), 2), Shared()
    gradients = [("tad", [1, 0]), ("cap", [0, 1]), ("cap", [3, 3]), ("tad", [1, 1]), ("cap", [-1, -1]), ("cap", [1, 0])]
    for step, (phase, gradient) in enumerate(gradients):
        leave(comparison, network, step, phase, gradient)
    assert comparison.take()[COSINE] == pytest.approx((0 + 1 - 1) / 3, abs=1e-6)


def test_begins_anew_after_an_evaluation_as_a_resumed_training_does() -> None:
    """The change from the CAP step before an evaluation to the TAD step after it is not compared."""
    timeline, network = Timeline(2, 1, 1, 1), Shared()
    whole = GradientComparison(timeline, 1)
    leave(whole, network, 0, "tad", [1, 0])
    leave(whole, network, 1, "cap", [1, 0])
    assert whole.take()[COSINE] == pytest.approx(1)
    resumed = GradientComparison(timeline, 1)
    for comparison in (whole, resumed):
        leave(comparison, network, 2, "tad", [0, 5])
        leave(comparison, network, 3, "cap", [0, -1])
    assert whole.take() == resumed.take() == {COSINE: pytest.approx(-1), RATIO: pytest.approx(0.2)}


def test_only_the_last_changes_before_an_evaluation_count() -> None:
    """20 steps have 19 changes: the first 11 oppose each other, the last 8 agree."""
    comparison, network = GradientComparison(Timeline(10, 1, 1, 1), 10), Shared()
    for step in range(20):
        sign = -1 if step < 11 and step % 2 else 1
        leave(comparison, network, step, "cap" if step % 2 else "tad", [sign, 0])
    assert comparison.take()[COSINE] == pytest.approx(1)


def test_the_last_epoch_is_evaluated_whatever_the_rhythm() -> None:
    comparison, network = GradientComparison(Timeline(3, 1, 1, 1), 2), Shared()
    for step, gradient in enumerate([[1, 0], [1, 0], [1, 0], [1, 0], [1, 0], [-1, 0]]):
        if step == 4:
            assert comparison.take()[COSINE] == pytest.approx(1)
        leave(comparison, network, step, "cap" if step % 2 else "tad", gradient)
    assert comparison.take()[COSINE] == pytest.approx(-1)


def test_compares_across_changes_of_another_ratio_too() -> None:
    """T C C, then T C T C with the second epoch, evaluated after both: the first change alone opposes."""
    comparison, network = GradientComparison(Timeline(2, 2, 2, 1, later=(Ratio(1, 1, 1),)), 2), Shared()
    signs = [-1, 1, 1, 1, 1, 1, 1]
    for step, (phase, sign) in enumerate(zip(("tad", "cap", "cap", "tad", "cap", "tad", "cap"), signs, strict=True)):
        leave(comparison, network, step, phase, [sign, 0])
    assert comparison.take()[COSINE] == pytest.approx((-1 + 4 * 1) / 5, abs=1e-6)


def test_a_gradient_of_zero_has_no_direction() -> None:
    comparison, network = GradientComparison(Timeline(1, 1, 1, 1), 1), Shared()
    leave(comparison, network, 0, "tad", [0, 0])
    leave(comparison, network, 1, "cap", [1, 0])
    assert comparison.take() == {}


def test_agrees_with_gradients_kept_by_hand(configure) -> None:
    """Trains the first epoch by single steps, keeps every gradient, and compares at the end."""
    config = configure("tiny_rlq")
    parts = build(config, world=World(), device=torch.device("cpu"))
    plan = Plan(parts.timeline, config.staged_optimizer, config.train, "none", torch.device("cpu"))
    comparison, state, kept = GradientComparison(parts.timeline, 1), parts.state, []
    state.network.train()
    for step in range(6):
        phase = state.phases[parts.timeline.phase(step)]
        rate = learning_rate(config.optimizer, epoch=parts.timeline.epoch(step), epochs=2)
        train_step(state, plan, phase, rate)
        comparison.after_step(step, phase.name, state.network)
        state.step += 1
        kept.append({n: p.grad.double().clone() for n, p in state.network.named_parameters() if p.grad is not None})
    parts.close()
    cosines, ratios = [], []
    for step in range(1, 6):
        tad, cap = (kept[step - 1], kept[step]) if step % 2 else (kept[step], kept[step - 1])
        shared = tad.keys() & cap.keys()
        assert set() < shared < cap.keys(), "pose and gender are CAP's alone"
        dot, tad2, cap2 = (
            sum((a[name] * b[name]).sum() for name in shared) for a, b in ((tad, cap), (tad, tad), (cap, cap))
        )
        cosines.append(float(dot / (tad2 * cap2).sqrt()))
        ratios.append(float((cap2 / tad2).sqrt()))
    found = comparison.take()
    assert found[COSINE] == pytest.approx(sum(cosines) / 5, abs=1e-5)
    assert found[RATIO] == pytest.approx(math.prod(ratios) ** (1 / 5), rel=1e-4)
