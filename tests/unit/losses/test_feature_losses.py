import math

import pytest
import torch

from rlq_ray.losses import cosine_disentangle, feature_distance, logit_agreement


def pair(rows=4, columns=3):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2, rows, columns, dtype=torch.float64, generator=generator).unbind()


def slow_softmax(row, temperature):
    exponentials = [math.exp(v / temperature) for v in row]
    return [e / sum(exponentials) for e in exponentials]


def test_disentangle_by_hand():
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0], [2.0, 2.0]])
    b = torch.tensor([[0.0, 3.0], [-5.0, 0.0], [1.0, 0.0]])
    assert cosine_disentangle(a, b).item() == pytest.approx((0 + 1 + 0.5**0.5) / 3, rel=1e-6)


def test_feature_distance_by_hand():
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0], [2.0, 2.0]])
    b = torch.tensor([[0.0, 3.0], [-5.0, 0.0], [1.0, 1.0]])
    assert feature_distance(a, b).item() == pytest.approx((2 + 4 + 0) / 3, rel=1e-6)


def test_feature_distance_is_twice_one_minus_cosine():
    a, b = pair()
    cosine = sum(float(x @ y / (x.norm() * y.norm())) for x, y in zip(a, b, strict=True)) / len(a)
    assert feature_distance(a, b).item() == pytest.approx(2 - 2 * cosine, rel=1e-12)


@pytest.mark.parametrize("loss", [cosine_disentangle, feature_distance])
def test_symmetric_and_blind_to_length(loss):
    a, b = pair()
    torch.testing.assert_close(loss(a, b), loss(b, a))
    torch.testing.assert_close(loss(3 * a, 0.2 * b), loss(a, b))


@pytest.mark.parametrize("loss", [cosine_disentangle, feature_distance, logit_agreement])
def test_gradient_flows_into_both_sides(loss):
    a, b = pair()
    assert torch.autograd.gradcheck(loss, (a.requires_grad_(), b.requires_grad_()))
    gradients = torch.autograd.grad(loss(a, b), (a, b))
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_agreement_equals_slow_formula():
    student, teacher = pair()
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        for p_s, p_t in zip(slow_softmax(s, 0.8), slow_softmax(t, 0.8), strict=True):
            total += p_t * (math.log(p_t) - math.log(p_s))
    expected = 0.64 * 0.8**2 * total / 12
    assert logit_agreement(student, teacher).item() == pytest.approx(expected, rel=1e-12)


def test_agreement_is_zero_for_equal_distributions_and_not_symmetric():
    student, teacher = pair()
    assert logit_agreement(student, student + 5).item() == pytest.approx(0, abs=1e-15)
    assert logit_agreement(student, teacher) != logit_agreement(teacher, student)


def test_agreement_stays_finite_for_certain_logits():
    loss = logit_agreement(torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]]))
    assert loss.item() == pytest.approx(0.64 * 0.8**2 * 1e4 / 0.8 / 2)
