"""The clothes-adversarial loss, and the table of which clothes classes one identity wears."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def clothes_adversarial(
    cosine_BC: Tensor, clothes_B: Tensor, positive_BC: Tensor, scale: float = 16.0, epsilon: float = 0.1
) -> Tensor:
    """Let every outfit of the right identity be as likely as the one worn.

    With z = scale · cosine and N the classes outside `positive_BC` (those other identities wear):
    log p_c = z_c − log(exp z_c + Σ_{n ∈ N} exp z_n); loss = mean of −Σ_c m_c log p_c, where
    m = (1 − ε) · onehot(clothes) + ε / |positives| · positives. Rows whose clothes are −1 (unknown) are left out of
    the mean. Gu et al., "Clothes-Changing Person Re-identification with RGB Modality Only" (CAL), CVPR 2022,
    equations 5–7.

    Args:
        cosine_BC: answers of the clothes classifier, in [−1, 1].
        clothes_B: class worn, one of the row's positives.
        positive_BC: bool, true for all clothes classes of the row's identity; see `positives_of`.
        scale: of the cosines before the softmax.
        epsilon: weight spread over the positives, in [0, 1].
    """
    known_B = clothes_B >= 0
    logit_BC = scale * cosine_BC
    negatives_B1 = logit_BC.masked_fill(positive_BC, -torch.inf).logsumexp(dim=1, keepdim=True)
    minus_log_p_BC = F.softplus(negatives_B1 - logit_BC)
    worn_B1 = clothes_B.clamp(min=0).unsqueeze(1)
    of_worn_B = minus_log_p_BC.gather(1, worn_B1).squeeze(1)
    of_positives_B = (minus_log_p_BC * positive_BC).sum(dim=1) / positive_BC.sum(dim=1).clamp(min=1)
    loss_B = (1 - epsilon) * of_worn_B + epsilon * of_positives_B
    return loss_B.masked_fill(~known_B, 0.0).sum() / known_B.sum().clamp(min=1)


def identity_of_clothes_classes(
    identity_of_clothes: Sequence[int], num_identities: int, recolourings_per_identity: int
) -> Tensor:
    """List the identity of every clothes class, recoloured ones included: `(C + recolourings · P,)` int64.

    Class `C + recolourings · identity + pair` is that identity in the `pair`-th recolouring. Build it once.
    """
    real_C = torch.tensor(identity_of_clothes, dtype=torch.int64)
    recoloured = torch.arange(num_identities).repeat_interleave(recolourings_per_identity)
    return torch.cat([real_C, recoloured])


def positives_of(identity_of_clothes_C: Tensor, identity_B: Tensor) -> Tensor:
    """Mark for every row the clothes classes that its identity wears: bool `(B, C)`, on the common device."""
    return identity_B.unsqueeze(1) == identity_of_clothes_C.unsqueeze(0)
