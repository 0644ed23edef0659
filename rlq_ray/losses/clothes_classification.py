"""The loss of the clothes classifier's own step."""

from __future__ import annotations

from torch import Tensor

from rlq_ray.losses.label_smoothed_cross_entropy import label_smoothed_cross_entropy


def clothes_classification(cosine_BC: Tensor, clothes_B: Tensor, scale: float = 16.0) -> Tensor:
    """Average the cross entropy of softmax(scale · cosine), without label smoothing.

    Give it the classifier's answer to *detached* features, so that the network does not learn clothes.
    Rows whose clothes are −1 (unknown) are left out. Gu et al., "Clothes-Changing Person Re-identification with RGB
    Modality Only" (CAL), CVPR 2022, equation 2.
    """
    return label_smoothed_cross_entropy(scale * cosine_BC, clothes_B, epsilon=0.0)
