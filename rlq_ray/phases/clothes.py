"""The clothes classifier: trained by a step of its own, then played against by the network (Gu et al., CVPR 2022)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rlq_ray.collectives import average_gradients, step_if_finite
from rlq_ray.config.schema import LossConfig
from rlq_ray.losses import clothes_adversarial, clothes_classification, positives_of


class ClothesClassifierTraining:
    """A cosine classifier over all clothes classes, its optimiser, and which identity wears what.

    Args:
        classifier: features `(B, D)` → cosines `(B, C)`.
        optimizer: of the classifier's parameters alone.
        identity_of_clothes_C: identity class of every clothes class, recoloured ones included.
        loss: constants of the formulas.
    """

    def __init__(
        self,
        classifier: nn.Module,
        optimizer: torch.optim.Optimizer,
        identity_of_clothes_C: Tensor,
        loss: LossConfig,
    ) -> None:
        self.classifier = classifier
        self.optimizer = optimizer
        self._identity_of_clothes_C = identity_of_clothes_C
        self._loss = loss

    def step(self, feat_BD: Tensor, clothes_B: Tensor) -> Tensor:
        """Teach the classifier the clothes of these features, which receive no gradient; return its loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = clothes_classification(self.classifier(feat_BD.detach()), clothes_B, self._loss.clothes_scale)
        loss.backward()
        averaged_1 = average_gradients(self.classifier.parameters(), loss[None])
        step_if_finite(self.optimizer, averaged_1)
        return averaged_1[0]

    def frozen_cosines(self, feat_BD: Tensor) -> Tensor:
        """Cosines `(B, C)` whose gradient reaches the features but not the classifier."""
        weights = {name: value.detach() for name, value in self.classifier.state_dict(keep_vars=True).items()}
        return torch.func.functional_call(self.classifier, weights, (feat_BD,))

    def adversarial_loss(self, feat_BD: Tensor, clothes_B: Tensor, identity_B: Tensor) -> Tensor:
        """Push the features away from telling apart the clothes of one identity; the classifier stays as it is."""
        positive_BC = positives_of(self._identity_of_clothes_C, identity_B)
        return clothes_adversarial(
            self.frozen_cosines(feat_BD), clothes_B, positive_BC, self._loss.clothes_scale, self._loss.clothes_epsilon
        )

    def state_dict(self) -> dict[str, Any]:
        """Classifier and optimiser."""
        return {"classifier": self.classifier.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over both from a checkpoint."""
        self.classifier.load_state_dict(state["classifier"])
        self.optimizer.load_state_dict(state["optimizer"])
