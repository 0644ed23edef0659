import math

import pytest
import torch
from torch.nn import functional as F

from rlq_ray.losses import clothes_adversarial, clothes_classification, identity_of_clothes_classes, positives_of


def slow_adversarial(cosine, clothes, positive, scale, epsilon):
    rows = []
    for i, worn in enumerate(clothes.tolist()):
        if worn < 0:
            continue
        exponentials = [math.exp(scale * v) for v in cosine[i].tolist()]
        negatives = sum(e for c, e in enumerate(exponentials) if not positive[i, c])
        num_positives = int(positive[i].sum())
        loss = 0.0
        for c, e in enumerate(exponentials):
            weight = (1 - epsilon) * (c == worn) + epsilon / num_positives * bool(positive[i, c])
            loss -= weight * math.log(e / (e + negatives))
        rows.append(loss)
    return sum(rows) / len(rows)


def random_batch():
    generator = torch.Generator().manual_seed(0)
    cosine = torch.rand(4, 6, dtype=torch.float64, generator=generator) * 2 - 1
    identity_of_clothes = torch.tensor([0, 0, 1, 1, 1, 2])
    return cosine, torch.tensor([1, 3, -1, 5]), positives_of(identity_of_clothes, torch.tensor([0, 1, 1, 2]))


def test_classification_by_hand():
    # Scale 2 and cosines (0, ln(3)/2): probabilities 1/4 and 3/4.
    cosine = torch.tensor([[0.0, math.log(3) / 2]])
    assert clothes_classification(cosine, torch.tensor([0]), scale=2.0).item() == pytest.approx(math.log(4))


def test_classification_leaves_unknown_clothes_out():
    cosine = torch.rand(3, 4)
    expected = F.cross_entropy(16 * cosine[:2], torch.tensor([3, 0]))
    torch.testing.assert_close(clothes_classification(cosine, torch.tensor([3, 0, -1])), expected)


def test_adversarial_by_hand():
    # Classes 0 and 1 are the identity's, 2 is another's; exp z = (1, 2, 3), worn 0.
    cosine = torch.tensor([[0.0, math.log(2), math.log(3)]])
    positive = torch.tensor([[True, True, False]])
    loss = clothes_adversarial(cosine, torch.tensor([0]), positive, scale=1.0, epsilon=0.1)
    assert loss.item() == pytest.approx(-0.95 * math.log(1 / 4) - 0.05 * math.log(2 / 5), rel=1e-6)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.9])
def test_adversarial_equals_slow_formula(epsilon):
    cosine, clothes, positive = random_batch()
    loss = clothes_adversarial(cosine, clothes, positive, epsilon=epsilon)
    assert loss.item() == pytest.approx(slow_adversarial(cosine, clothes, positive, 16.0, epsilon), rel=1e-9)


def test_adversarial_with_one_outfit_each_is_classification():
    cosine = torch.rand(4, 4)
    loss = clothes_adversarial(cosine, torch.arange(4), torch.eye(4, dtype=torch.bool))
    torch.testing.assert_close(loss, clothes_classification(cosine, torch.arange(4)))


def test_adversarial_does_not_compare_outfits_of_one_identity():
    cosine = torch.tensor([[0.1, 0.2, 0.3]], dtype=torch.float64, requires_grad=True)
    clothes_adversarial(cosine, torch.tensor([0]), torch.tensor([[True, True, False]])).backward()
    assert (cosine.grad[0, :2] < 0).all()
    assert cosine.grad[0, 2] > 0


def test_adversarial_is_stable():
    cosine = torch.tensor([[-1.0, -1.0, 1.0], [1.0, -1.0, -1.0], [0.5, 0.0, -0.5]], requires_grad=True)
    positive = torch.tensor([[True, True, False], [True, False, False], [True, True, True]])
    loss = clothes_adversarial(cosine, torch.zeros(3, dtype=torch.int64), positive, scale=500.0)
    loss.backward()
    assert loss.item() == pytest.approx(1000 / 3)
    assert torch.isfinite(cosine.grad).all()
    assert cosine.grad[2].abs().max() == 0, "no other identity's clothes: nothing to learn"


def test_adversarial_gradient():
    cosine, clothes, positive = random_batch()
    assert torch.autograd.gradcheck(lambda x: clothes_adversarial(x, clothes, positive), cosine.requires_grad_())


def test_all_unknown_is_zero_with_a_graph():
    cosine = torch.rand(2, 3, requires_grad=True)
    unknown = torch.tensor([-1, -1])
    positive = torch.zeros(2, 3, dtype=torch.bool)
    loss = clothes_adversarial(cosine, unknown, positive) + clothes_classification(cosine, unknown)
    loss.backward()
    assert loss.item() == 0
    assert cosine.grad.abs().max() == 0


def test_positives_with_recoloured_classes():
    real = (0, 1, 0, 2)
    table = identity_of_clothes_classes(real, num_identities=3, recolourings_per_identity=81)
    assert len(table) == 4 + 81 * 3
    positive = positives_of(table, torch.tensor([2, 0]))
    for row, identity in enumerate((2, 0)):
        expected = {c for c, wearer in enumerate(real) if wearer == identity}
        expected |= {len(real) + 81 * identity + pair for pair in range(81)}
        assert set(positive[row].nonzero().flatten().tolist()) == expected


def test_table_without_recolouring_lists_the_real_classes():
    assert identity_of_clothes_classes((0, 1, 1), 2, 0).tolist() == [0, 1, 1]
