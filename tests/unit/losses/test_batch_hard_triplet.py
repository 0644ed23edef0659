import pytest
import torch
from torch.nn import functional as F

from rlq_ray.losses import batch_hard_triplet


def slow(feat, pid, margin):
    unit = F.normalize(feat)
    total = 0.0
    for a in range(len(feat)):
        positive, negative = -float("inf"), float("inf")
        for b in range(len(feat)):
            distance = 1 - float(unit[a] @ unit[b])
            if pid[a] == pid[b]:
                positive = max(positive, distance)
            else:
                negative = min(negative, distance)
        total += max(0.0, positive - negative + margin)
    return total / len(feat)


def random_batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(8, 5, dtype=torch.float64, generator=generator), torch.tensor([0, 0, 1, 1, 2, 2, 2, 3])


def test_value_by_hand():
    # Unit vectors at 0° and 90° (identity 0) and at 60° (identity 1): cosines 0, 1/2 and √3/2.
    feat = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 3**0.5 / 2]])
    half, root = 0.5, 3**0.5 / 2
    anchors = [1 - (1 - half) + 0.3, 1 - (1 - root) + 0.3, max(0, 0 - (1 - root) + 0.3)]
    assert batch_hard_triplet(feat, torch.tensor([0, 0, 1])).item() == pytest.approx(sum(anchors) / 3, rel=1e-6)


@pytest.mark.parametrize("margin", [0.0, 0.3, 1.5])
def test_equals_double_loop(margin):
    feat, pid = random_batch()
    assert batch_hard_triplet(feat, pid, margin).item() == pytest.approx(slow(feat, pid, margin), rel=1e-12)


def test_scale_and_order_do_not_matter():
    feat, pid = random_batch()
    order = torch.randperm(8, generator=torch.Generator().manual_seed(3))
    scaled = feat * torch.linspace(0.1, 9, 8, dtype=torch.float64)[:, None]
    expected = batch_hard_triplet(feat, pid)
    torch.testing.assert_close(batch_hard_triplet(scaled, pid), expected)
    torch.testing.assert_close(batch_hard_triplet(feat[order], pid[order]), expected)


def test_anchor_without_negative_contributes_zero():
    feat = torch.randn(4, 3, requires_grad=True)
    loss = batch_hard_triplet(feat, torch.zeros(4, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert feat.grad.abs().max() == 0


def test_equal_features_cost_the_margin_and_have_a_finite_gradient():
    feat = torch.ones(4, 3, requires_grad=True)
    loss = batch_hard_triplet(feat, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(0.3)
    assert torch.isfinite(feat.grad).all()


def test_gradient():
    feat, pid = random_batch(seed=5)
    assert torch.autograd.gradcheck(lambda x: batch_hard_triplet(x, pid), feat.requires_grad_())
