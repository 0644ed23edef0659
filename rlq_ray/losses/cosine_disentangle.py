"""The term that keeps identity and pose features apart."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def cosine_disentangle(feat_a_BD: Tensor, feat_b_BD: Tensor) -> Tensor:
    """Average |cos(a, b)| over the rows: 0 when all pairs are orthogonal, at most 1.

    Pathak & Rawat, "Coarse Attribute Prediction with Task Agnostic Distillation", BMVC 2025, arXiv:2505.12580.
    """
    return F.cosine_similarity(feat_a_BD, feat_b_BD, dim=1).abs().mean()
