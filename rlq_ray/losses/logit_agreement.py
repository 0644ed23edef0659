"""The term that lets two sets of logits agree."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def logit_agreement(student_BC: Tensor, teacher_BC: Tensor, temperature: float = 0.8, weight: float = 0.64) -> Tensor:
    """Compute weight · T² · Σ p_t (log p_t − log p_s) / (B · C), with p = softmax(logits / T).

    The divergence KL(teacher ‖ student) is averaged over all elements, not rows, as published, and the gradient flows
    into both sides: detach the teacher to prevent that.
    Hinton et al., arXiv:1503.02531; Pathak & Rawat, BMVC 2025, arXiv:2505.12580.
    """
    log_student_BC = F.log_softmax(student_BC / temperature, dim=1)
    log_teacher_BC = F.log_softmax(teacher_BC / temperature, dim=1)
    divergence = F.kl_div(log_student_BC, log_teacher_BC, reduction="sum", log_target=True)
    return weight * temperature**2 * divergence / student_BC.numel()
