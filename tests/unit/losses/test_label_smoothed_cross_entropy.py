import math

import pytest
import torch

from rlq_ray.losses import label_smoothed_cross_entropy


def slow(logits, targets, epsilon):
    rows = []
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        if target < 0:
            continue
        total = sum(math.exp(v) for v in row)
        smooth = [(1 - epsilon) * (c == target) + epsilon / len(row) for c in range(len(row))]
        rows.append(-sum(q * math.log(math.exp(v) / total) for q, v in zip(smooth, row, strict=True)))
    return sum(rows) / len(rows)


def test_value_by_hand():
    # Two classes, logits (0, ln 3): probabilities 1/4 and 3/4; target 1 softened to (0.05, 0.95).
    logits = torch.tensor([[0.0, math.log(3)]])
    expected = -0.05 * math.log(0.25) - 0.95 * math.log(0.75)
    assert label_smoothed_cross_entropy(logits, torch.tensor([1])).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5])
def test_equals_slow_formula_without_unknown_rows(epsilon):
    logits = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    target = torch.tensor([0, 4, -1, 2, -1, 2])
    loss = label_smoothed_cross_entropy(logits, target, epsilon)
    assert loss.item() == pytest.approx(slow(logits, target, epsilon), rel=1e-12)


def test_all_unknown_is_zero_with_a_graph():
    logits = torch.randn(3, 4, requires_grad=True)
    loss = label_smoothed_cross_entropy(logits, torch.full((3,), -1))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


def test_extreme_logits_stay_finite():
    loss = label_smoothed_cross_entropy(torch.tensor([[1e4, -1e4]]), torch.tensor([1]))
    assert loss.item() == pytest.approx(0.95 * 2e4)


def test_gradient():
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, -1, 2, 1])
    assert torch.autograd.gradcheck(lambda x: label_smoothed_cross_entropy(x, target), logits)
