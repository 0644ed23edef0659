"""Cross entropy against softened labels; serves the identity, pose and gender heads alike."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def label_smoothed_cross_entropy(logits_BC: Tensor, target_B: Tensor, epsilon: float = 0.1) -> Tensor:
    """Average −Σ_c q_c · log softmax(logits)_c with q = (1 − ε) · onehot(target) + ε / C.

    A row whose target is −1 (unknown) is left out of the average; if all are unknown the loss is 0 and its gradient 0.
    Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016.
    """
    known = (target_B >= 0).sum().clamp(min=1)
    total = F.cross_entropy(logits_BC, target_B, ignore_index=-1, label_smoothing=epsilon, reduction="sum")
    return total / known
