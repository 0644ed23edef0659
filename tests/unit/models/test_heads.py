import pytest
import torch

from rlq_ray.models import build_clothes_classifier
from rlq_ray.models.heads import LinearHead, PooledFeature


def test_pooling_is_maximum_then_average():
    pool = PooledFeature(2).eval()
    map_BCHW = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]], [[-4.0, -2.0], [-1.0, -1.0]]]])
    expected = torch.tensor([[6.0, -1.0, 3.0, -2.0]]) * pool.norm.weight
    torch.testing.assert_close(pool(map_BCHW), expected, rtol=1e-4, atol=1e-4)


def test_pooled_feature_is_normalised_over_the_batch():
    pool = PooledFeature(3)
    feat = pool(5 + 2 * torch.randn(64, 3, 4, 2))
    torch.testing.assert_close(feat.mean(dim=0), torch.zeros(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(feat.std(dim=0, unbiased=False), pool.norm.weight.detach(), atol=1e-3, rtol=0)


def test_initial_statistics():
    torch.manual_seed(0)
    norm, linear = PooledFeature(2048).norm, LinearHead(4096, 100)
    assert norm.weight.mean().item() == pytest.approx(1, abs=0.002)
    assert norm.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert linear.weight.mean().item() == pytest.approx(0, abs=1e-5)
    assert linear.weight.std().item() == pytest.approx(0.001, rel=0.02)
    assert norm.bias.abs().max() == 0
    assert linear.bias.abs().max() == 0


def test_clothes_rows_start_as_unit_vectors():
    weight = build_clothes_classifier(32, 10).weight
    torch.testing.assert_close(weight.norm(dim=1), torch.ones(10))
    assert (weight < 0).any()


def test_clothes_classifier_answers_with_cosines():
    classifier = build_clothes_classifier(2, 2)
    with torch.no_grad():
        classifier.weight.copy_(torch.tensor([[5.0, 0.0], [3.0, 4.0]]))
    feat = torch.tensor([[2.0, 0.0], [0.0, -7.0]])
    torch.testing.assert_close(classifier(feat), torch.tensor([[1.0, 0.6], [0.0, -0.8]]))


def test_clothes_classifier_stays_exact_under_autocast():
    classifier, feat = build_clothes_classifier(64, 5), torch.randn(3, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coarse = classifier(feat)
    assert torch.equal(coarse, classifier(feat))
