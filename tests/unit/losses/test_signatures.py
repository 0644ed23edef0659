"""Names, parameters and defaults of the formulas are a contract: others hold them against code of their own."""

from __future__ import annotations

import inspect

import pytest
import torch

from rlq_ray import losses

CONTRACT = {
    "label_smoothed_cross_entropy": "(logits_BC, target_B, epsilon=0.1)",
    "batch_hard_triplet": "(feat_BD, pid_B, margin=0.3)",
    "clothes_classification": "(cosine_BC, clothes_B, scale=16.0)",
    "clothes_adversarial": "(cosine_BC, clothes_B, positive_BC, scale=16.0, epsilon=0.1)",
    "cosine_disentangle": "(feat_a_BD, feat_b_BD)",
    "logit_agreement": "(student_BC, teacher_BC, temperature=0.8, weight=0.64)",
    "feature_distance": "(feat_a_BD, feat_b_BD)",
}


@pytest.mark.parametrize("name", CONTRACT)
def test_parameters_and_defaults(name: str) -> None:
    signature = inspect.signature(getattr(losses, name))
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    assert str(inspect.Signature(bare)) == CONTRACT[name]


@pytest.mark.parametrize("name", CONTRACT)
def test_each_gives_a_scalar_with_gradient(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, other = (torch.rand(6, 4, generator=generator, requires_grad=True) for _ in range(2))
    labels = torch.tensor([0, 0, 1, 1, 2, 3])
    arguments = {
        "logits_BC": logits, "cosine_BC": logits, "feat_BD": logits, "feat_a_BD": logits, "student_BC": logits,
        "teacher_BC": other, "feat_b_BD": other, "target_B": labels, "pid_B": labels, "clothes_B": labels,
        "positive_BC": torch.nn.functional.one_hot(labels, 4).bool(),
    }  # fmt: skip
    function = getattr(losses, name)
    loss = function(
        *(arguments[p.name] for p in inspect.signature(function).parameters.values() if p.name in arguments)
    )
    assert loss.shape == ()
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0
