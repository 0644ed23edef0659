"""The terms of the objective, one per file: pure functions of features, logits and labels to a scalar.

They know neither networks nor weights of terms nor schedules. Call them outside autocast on fp32 values.
"""

from rlq_ray.losses.batch_hard_triplet import batch_hard_triplet
from rlq_ray.losses.clothes_adversarial import clothes_adversarial, identity_of_clothes_classes, positives_of
from rlq_ray.losses.clothes_classification import clothes_classification
from rlq_ray.losses.cosine_disentangle import cosine_disentangle
from rlq_ray.losses.feature_distance import feature_distance
from rlq_ray.losses.label_smoothed_cross_entropy import label_smoothed_cross_entropy
from rlq_ray.losses.logit_agreement import logit_agreement

__all__ = [
    "batch_hard_triplet",
    "clothes_adversarial",
    "clothes_classification",
    "cosine_disentangle",
    "feature_distance",
    "identity_of_clothes_classes",
    "label_smoothed_cross_entropy",
    "logit_agreement",
    "positives_of",
]
