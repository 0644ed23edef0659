"""CAP, Coarse Attribute Prediction: identity, clothes-adversarial, pose and gender losses on the labelled target.

Pathak & Rawat, BMVC 2025. With `pose_branch` and `gender_head` off this is the base model's objective,
and with one branch alone that of CAL (Gu et al., CVPR 2022).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rlq_ray.augment import draw_pairs, recolour, recoloured_clothes
from rlq_ray.collectives import gather_with_gradient
from rlq_ray.config.schema import LossConfig, Staged
from rlq_ray.data import TargetLoader
from rlq_ray.losses import (
    batch_hard_triplet,
    cosine_disentangle,
    label_smoothed_cross_entropy,
    logit_agreement,
)
from rlq_ray.models import Outputs, ReIDNetwork
from rlq_ray.phases.base import Moment
from rlq_ray.phases.clothes import ClothesClassifierTraining
from rlq_ray.phases.views import Views
from rlq_ray.types import Batch


class Labels(NamedTuple):
    """What the losses compare with, one entry an image; −1 = unknown."""

    identity_B: Tensor
    clothes_B: Tensor
    gender_B: Tensor
    pose_B: Tensor


class CoarseAttributePhase:
    """Losses of a labelled batch, in which every image comes with a copy in other clothes.

    Args:
        network: the student.
        clothes: the clothes classifier, or None where no term ever asks it.
        loader: identity-balanced batches of the target.
        num_clothes: clothes classes that stored images wear; recoloured copies count on from there.
        views: what the network is shown of the images.
        loss: weights and constants, by CAP epoch.
        name: of the phase, under which its losses are tracked and its draws are made.
    """

    def __init__(
        self,
        network: ReIDNetwork,
        clothes: ClothesClassifierTraining | None,
        loader: TargetLoader,
        *,
        num_clothes: int,
        views: Views,
        loss: Staged[LossConfig],
        name: str = "cap",
    ) -> None:
        self.name = name
        self.network = network
        self.clothes = clothes
        self.loader = loader
        self._num_clothes = num_clothes
        self._views = views
        self._loss = loss

    def losses(self, batch: Batch, moment: Moment) -> dict[str, Tensor]:
        """Train the clothes classifier in its epochs, and return the network's losses."""
        loss = self._loss.at(moment.epoch)
        image_BCHW, labels = self._with_copies(batch, moment)
        out = self.network(image_BCHW, with_pose=True)
        terms = _identity_terms(out, labels, loss) | _attribute_terms(out, labels, loss)
        if self.clothes is not None and loss.trains_clothes(moment.epoch):
            self.clothes.step(out.clothes_BD, labels.clothes_B)
            if weight := loss.weights.clothes_adversarial:
                terms["clothes_adversarial"] = weight * self.clothes.adversarial_loss(
                    out.clothes_BD, labels.clothes_B, labels.identity_B
                )
        return terms

    def _with_copies(self, batch: Batch, moment: Moment) -> tuple[Tensor, Labels]:
        """Append the recoloured copies, augment all, and return the network's input with its labels."""
        views, augment = self._views, self._views.augment
        generator = views.generator(batch.image_BCHW.device, self.name, moment.step)
        labels = Labels(batch.identity_B, batch.clothes_B, batch.gender_B, batch.pose_B)
        if not augment.recolour or batch.shirt_B1HW is None:
            return self._shown(batch.image_BCHW, batch, generator), labels
        image_BCHW, clothes_B = self._recoloured(batch, augment.recolour_originals, generator)
        copy_BCHW, copy_clothes_B = self._recoloured(batch, 1.0, generator)
        both_BCHW = torch.cat([self._shown(image_BCHW, batch, generator), self._shown(copy_BCHW, batch, generator)])
        pair = labels._replace(clothes_B=clothes_B), labels._replace(clothes_B=copy_clothes_B)
        return both_BCHW, Labels(*map(torch.cat, zip(*pair, strict=True)))

    def _shown(self, image_BCHW: Tensor, batch: Batch, generator: torch.Generator) -> Tensor:
        """Degrade as many images as configured, none as published, and augment all."""
        views = self._views
        if probability := views.degrade.target_probability:
            degraded_BCHW = views.degraded(image_BCHW, batch.original_size_B2, generator)
            chosen_B = views.chance(image_BCHW, probability, generator)
            image_BCHW = torch.where(chosen_B[:, None, None, None], degraded_BCHW, image_BCHW)
        return views.augmented(image_BCHW, generator)

    def _recoloured(self, batch: Batch, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Put a random share of the images into other clothes; return the images and their clothes labels."""
        if share == 0:
            return batch.image_BCHW, batch.clothes_B
        assert batch.shirt_B1HW is not None
        assert batch.trousers_B1HW is not None
        assert batch.mask_faulty_B is not None
        pair_B = self._views.drawn(batch.image_BCHW, lambda num: draw_pairs(num, generator))
        chosen_B = self._views.chance(batch.image_BCHW, share, generator)
        masks = (batch.shirt_B1HW, batch.trousers_B1HW, batch.mask_faulty_B)
        augment = self._views.augment
        changed_BCHW = recolour(
            batch.image_BCHW, *masks, pair_B, augment.recolour_alpha, shading=augment.recolour_shading
        )
        clothes_B = recoloured_clothes(pair_B, batch.identity_B, self._num_clothes, batch.mask_faulty_B)
        return (
            torch.where(chosen_B[:, None, None, None], changed_BCHW, batch.image_BCHW),
            torch.where(chosen_B, clothes_B, batch.clothes_B),
        )


def _identity_terms(out: Outputs, labels: Labels, loss: LossConfig) -> dict[str, Tensor]:
    weights = loss.weights
    terms = {}
    if out.identity_clothes_BP is not None and weights.identity_clothes:
        terms["identity_clothes"] = weights.identity_clothes * label_smoothed_cross_entropy(
            out.identity_clothes_BP, labels.identity_B, loss.label_smoothing
        )
    if weights.identity:
        terms["identity"] = weights.identity * label_smoothed_cross_entropy(
            out.identity_BP, labels.identity_B, loss.label_smoothing
        )
    if out.identity_clothes_BP is not None and weights.agreement:
        terms["agreement"] = weights.agreement * logit_agreement(
            out.identity_clothes_BP, out.identity_BP, loss.agreement_temperature, loss.agreement_scale
        )
    if weights.triplet:
        terms["triplet"] = weights.triplet * batch_hard_triplet(
            gather_with_gradient(out.identity_BD), gather_with_gradient(labels.identity_B), loss.triplet_margin
        )
    return terms


def _attribute_terms(out: Outputs, labels: Labels, loss: LossConfig) -> dict[str, Tensor]:
    weights = loss.weights
    terms = {}
    if out.gender_B2 is not None and weights.gender:
        terms["gender"] = weights.gender * label_smoothed_cross_entropy(
            out.gender_B2, labels.gender_B, loss.label_smoothing
        )
    if out.pose_BK is not None and weights.pose:
        terms["pose"] = weights.pose * label_smoothed_cross_entropy(out.pose_BK, labels.pose_B, loss.label_smoothing)
    if out.pose_BD is not None and weights.disentangle:
        terms["disentangle"] = weights.disentangle * cosine_disentangle(out.identity_BD, out.pose_BD)
    return terms
