"""TAD, Task Agnostic Distillation: a frozen teacher's clean features against the student's clean and degraded ones.

Pathak & Rawat, BMVC 2025. Uses no label of the external images.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlq_ray.config.schema import LossConfig, LossWeights, Staged, first_clothes_epoch
from rlq_ray.data import ExternalLoader
from rlq_ray.losses import feature_distance, logit_agreement
from rlq_ray.models import FrozenTeacher, Outputs, ReIDNetwork
from rlq_ray.phases.base import Moment
from rlq_ray.phases.clothes import ClothesClassifierTraining
from rlq_ray.phases.views import Views
from rlq_ray.types import Batch


class DistillationPhase:
    """Losses of a batch of the external set, seen clean by the teacher, clean and degraded by the student.

    Args:
        network: the student; its pose branch takes no part.
        teacher: gives clothes and identity features of the student's size; None where no term ever looks at it, and
            where batches bring its features along.
        clothes: the target's clothes classifier, for the term `agreement_clothes`.
        loader: batches of the external set.
        views: the clean and the degraded images that the networks are shown.
        loss: weights and constants, by CAP epoch.
    """

    name = "tad"

    def __init__(
        self,
        network: ReIDNetwork,
        teacher: FrozenTeacher | None,
        clothes: ClothesClassifierTraining | None,
        loader: ExternalLoader,
        *,
        views: Views,
        loss: Staged[LossConfig],
    ) -> None:
        self.network = network
        self.teacher = teacher
        self.clothes = clothes
        self.loader = loader
        self._views = views
        self._loss = loss
        self._first_clothes_epoch = first_clothes_epoch(loss)

    def losses(self, batch: Batch, moment: Moment) -> dict[str, Tensor]:
        """Return the distances to the teacher and the disagreement of the student with itself."""
        loss = self._loss.at(moment.epoch)
        clean_BCHW, degraded_BCHW = self._two_views(batch, moment)
        out = self.network(torch.cat([clean_BCHW, degraded_BCHW]), with_pose=False)
        taught = self._taught(batch, clean_BCHW) if loss.weights.look_at_teacher else None
        return self._feature_terms(out, taught, loss.weights) | self._agreement_terms(out, moment, loss)

    def _taught(self, batch: Batch, clean_BCHW: Tensor) -> tuple[Tensor, ...] | None:
        """The teacher's clothes and identity features of the clean view: brought along, or computed."""
        if batch.taught_2BD is not None:
            return batch.taught_2BD.float().unbind()
        return self.teacher(clean_BCHW) if self.teacher is not None else None

    def _feature_terms(
        self, out: Outputs, taught: tuple[Tensor, ...] | None, weights: LossWeights
    ) -> dict[str, Tensor]:
        """Clean and degraded features against the teacher's, and degraded ones against the student's own."""
        clean, degraded = zip(out.clothes_BD.chunk(2), out.identity_BD.chunk(2), strict=True)
        terms = {}
        if taught is not None:
            for name, own in (("feature_hq", clean), ("feature_lq", degraded)):
                if weight := getattr(weights, name):
                    terms[name] = weight * _distance(taught, own)
        if weights.feature_self:
            own_clean = tuple(feat_BD.detach() for feat_BD in clean)
            terms["feature_self"] = weights.feature_self * _distance(own_clean, degraded)
        return terms

    def _agreement_terms(self, out: Outputs, moment: Moment, loss: LossConfig) -> dict[str, Tensor]:
        """Degraded against clean; the gradient flows into both."""
        assert out.identity_clothes_BP is not None, "the configuration refuses TAD with a single branch"
        weights = loss.weights
        terms = {}
        if weights.agreement_lq:
            terms["agreement_lq"] = weights.agreement_lq * (
                _disagreement(out.identity_BP, loss) + _disagreement(out.identity_clothes_BP, loss)
            )
        is_trained = moment.epoch > self._first_clothes_epoch  # before, the classifier's answers mean nothing
        if weights.agreement_clothes and self.clothes is not None and is_trained:
            logits_BC = loss.clothes_scale * self.clothes.frozen_cosines(out.clothes_BD)
            terms["agreement_clothes"] = weights.agreement_clothes * _disagreement(logits_BC, loss)
        return terms

    def _two_views(self, batch: Batch, moment: Moment) -> tuple[Tensor, Tensor]:
        """The clean and the degraded view, each with a crop, flip and erasure of its own.

        What the clean one got before, if the teacher's features of that are brought along.
        """
        views = self._views
        generator = views.generator(batch.image_BCHW.device, self.name, moment.step)
        degraded_BCHW = batch.image_BCHW
        if views.degrade.distil_degraded:
            degraded_BCHW = views.degraded(batch.image_BCHW, batch.original_size_B2, generator)
        if batch.draw is None:
            clean_BCHW = views.augmented(batch.image_BCHW, generator)
        else:
            clean_BCHW = views.augmented_again(batch.image_BCHW, batch.row_B, batch.draw)
        return clean_BCHW, views.augmented(degraded_BCHW, generator)


def _disagreement(logits_BC: Tensor, loss: LossConfig) -> Tensor:
    """Degraded against clean, the second half against the first."""
    clean_BC, degraded_BC = logits_BC.chunk(2)
    return logit_agreement(degraded_BC, clean_BC, loss.agreement_temperature, loss.agreement_scale)


def _distance(goal: tuple[Tensor, ...], feats: tuple[Tensor, ...]) -> Tensor:
    """Add the distances of the clothes features and of the identity features."""
    return torch.stack([feature_distance(a_BD, b_BD) for a_BD, b_BD in zip(goal, feats, strict=True)]).sum()
