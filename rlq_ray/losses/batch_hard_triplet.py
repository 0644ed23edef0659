"""The batch-hard triplet loss on the cosine distance."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def batch_hard_triplet(feat_BD: Tensor, pid_B: Tensor, margin: float = 0.3) -> Tensor:
    """Average max(0, d(a, hardest positive) − d(a, hardest negative) + margin) over all anchors, d = 1 − cos.

    The anchor is one of its own positives, so an identity with a single image has positive distance 0. An anchor
    without a negative in the batch contributes 0 and still counts in the average. To search the batches of all
    workers, give it what `gather_with_gradient` returns for features and identities.
    Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification", arXiv:1703.07737.

    Args:
        feat_BD: features of any length; normalised here.
        pid_B: identities, all known.
        margin: on the difference of distances.
    """
    unit_BD = F.normalize(feat_BD, dim=1)
    distance_BB = 1 - unit_BD @ unit_BD.T
    same_BB = pid_B.unsqueeze(1) == pid_B.unsqueeze(0)
    positive_B = distance_BB.masked_fill(~same_BB, -torch.inf).amax(dim=1)
    negative_B = distance_BB.masked_fill(same_BB, torch.inf).amin(dim=1)
    return F.relu(positive_B - negative_B + margin).mean()
