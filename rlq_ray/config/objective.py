"""Settings of the losses: the factor of every term, and the constants of the formulas. Loads without torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rlq_ray.config.section import NonNegative, Positive, Section


class LossWeights(Section):
    """Factor of every term; 0 leaves the term out.

    Each phase needs a term: `ModelConfig.cap_terms` and `TAD_TERMS` list them.
    """

    identity_clothes: NonNegative = 1.0
    """CAP: cross entropy of the identity on the clothes branch."""
    identity: NonNegative = 1.0
    """CAP: cross entropy of the identity on the identity branch."""
    pose: NonNegative = 1.0
    """CAP: cross entropy of the pose cluster."""
    gender: NonNegative = 1.0
    """CAP: cross entropy of the gender."""
    agreement: NonNegative = 1.0
    """CAP: KL between the identity logits of the two branches."""
    disentangle: NonNegative = 1.0
    """CAP: |cos| between identity and pose features."""
    triplet: NonNegative = 1.0
    """CAP: batch-hard triplet on the identity features of all workers."""
    clothes_adversarial: NonNegative = 1.0
    """CAP: clothes-adversarial loss (Gu et al., CVPR 2022) on the clothes branch."""
    feature_hq: NonNegative = 1.0
    """TAD: distance of the student's features of clean images to the teacher's."""
    feature_lq: NonNegative = 1.0
    """TAD: distance of the student's features of degraded images to the teacher's."""
    feature_self: NonNegative = 0.0
    """TAD: distance of the student's features of degraded images to its own of clean ones, which are held still; takes
    the teacher's place where `feature_hq` and `feature_lq` are 0. The published method has none."""
    agreement_lq: NonNegative = 1.0
    """TAD: KL between the identity logits of degraded and clean images, both branches."""
    agreement_clothes: NonNegative = 0.0
    """TAD: the same for the clothes logits; trains nothing in the published code, hence 0."""

    @property
    def look_at_teacher(self) -> bool:
        """Whether a term compares with the teacher's features."""
        return bool(self.feature_hq or self.feature_lq)

    @property
    def look_at_clothes(self) -> bool:
        """Whether a term asks the clothes classifier."""
        return bool(self.clothes_adversarial or self.agreement_clothes)


TAD_TERMS = ("feature_hq", "feature_lq", "feature_self", "agreement_lq")
"""Terms of a TAD step from the beginning on."""


class LossConfig(Section):
    """Constants of the formulas."""

    weights: LossWeights = LossWeights()
    """Factor of every term."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Epsilon of all four cross entropies."""
    triplet_margin: NonNegative = 0.3
    """Margin on 1 − cos."""
    agreement_temperature: Positive = 0.8
    """Temperature of the logit agreement."""
    agreement_scale: Positive = 0.64
    """Factor of the logit agreement, beside temperature²."""
    clothes_scale: Positive = 16.0
    """Scale of the cosine clothes classifier."""
    clothes_epsilon: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Weight spread over all clothes of the same identity in the adversarial loss."""
    clothes_from_epoch: Annotated[int, Field(ge=0)] = 25
    """First CAP epoch (from 0) with clothes classifier and adversarial loss."""

    def trains_clothes(self, epoch: int) -> bool:
        """Tell whether a CAP epoch in which these settings hold trains the clothes classifier."""
        return self.weights.look_at_clothes and epoch >= self.clothes_from_epoch
