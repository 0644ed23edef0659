"""The distance of the student's features to the teacher's."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def feature_distance(feat_a_BD: Tensor, feat_b_BD: Tensor) -> Tensor:
    """Average ‖a/‖a‖ − b/‖b‖‖² = 2 − 2 cos(a, b) over the rows: in [0, 4].

    Pathak & Rawat, "Coarse Attribute Prediction with Task Agnostic Distillation", BMVC 2025, arXiv:2505.12580.
    """
    difference_BD = F.normalize(feat_a_BD, dim=1) - F.normalize(feat_b_BD, dim=1)
    return difference_BD.square().sum(dim=1).mean()
