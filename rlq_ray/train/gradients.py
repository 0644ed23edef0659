"""Whether the phases pull the same way: the gradients of neighbouring steps of different phases, compared.

Looks on, and changes nothing: no forward pass, no draw, no wait for the device before an evaluation. It knows phases by
name only, and begins anew after every evaluation.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlq_ray.train.schedule import Timeline

MAX_PAIRS = 8
"""Changes of phase before an evaluation that are compared; on both sides of each, a gradient is held in memory."""


class GradientComparison:
    """Compares the gradients on both sides of the last changes of phase before each evaluation.

    Args:
        timeline: tells where phases change, and where epochs end.
        evaluate_every_epochs: of the training; the last epoch is evaluated besides.
    """

    def __init__(self, timeline: Timeline, evaluate_every_epochs: int) -> None:
        self._timeline = timeline
        self._evaluate_every_epochs = evaluate_every_epochs
        self._next_evaluation = 0
        self._changes: frozenset[int] = frozenset()
        self._before: tuple[str, dict[str, Tensor]] | None = None
        self._compared: list[Tensor] = []

    def after_step(self, step: int, phase: str, network: nn.Module) -> None:
        """Look at the network's gradients, averaged over the workers, that a step of a phase has left."""
        if step >= self._next_evaluation:
            self._look_ahead(step)
        if step in self._changes and self._before is not None:
            self._compare(self._before, (phase, _gradients(network)))
        self._before = None
        if step + 1 in self._changes:
            kept = {name: gradient.clone() for name, gradient in _gradients(network).items()}
            self._before = (phase, kept)

    def take(self) -> dict[str, float]:
        """Give what was compared since the last call, and begin anew; reading it waits for the device.

        `diagnostics/gradient_cosine`, a mean in −1…1, over the parameters that both steps train, and
        `diagnostics/gradient_norm_ratio`, a geometric mean, of the phase whose name comes first over the other (CAP
        over TAD). Empty where no phase changed, or where a gradient was zero or not finite each time.
        """
        pairs = torch.stack(self._compared).tolist() if self._compared else []
        self._compared = []
        finite = [pair for pair in pairs if all(map(math.isfinite, pair))]
        if not finite:
            return {}
        cosine, log_ratio = (sum(values) / len(finite) for values in zip(*finite, strict=True))
        return {"diagnostics/gradient_cosine": cosine, "diagnostics/gradient_norm_ratio": math.exp(log_ratio)}

    def state_dict(self) -> dict[str, Any]:
        """Give what was compared since the last evaluation, and the gradient that waits for its neighbour."""
        phase, gradients = self._before or (None, {})
        return {"compared": self._compared, "phase": phase, "gradients": gradients}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on between two evaluations, on a device."""
        gradients = {name: gradient.to(device) for name, gradient in state["gradients"].items()}
        self._before = (state["phase"], gradients) if state["phase"] else None
        self._compared = [pair.to(device) for pair in state["compared"]]
        self._next_evaluation = 0

    def _look_ahead(self, step: int) -> None:
        """Choose the changes to compare, by their first step, from a step on to the evaluation after it."""
        line, every = self._timeline, self._evaluate_every_epochs
        epoch = (int(line.epoch(step)) // every + 1) * every
        self._next_evaluation = line.steps_until(min(epoch, line.epochs))
        candidates = range(self._next_evaluation - 1, max(step, 1) - 1, -1)
        changes = [late for late in candidates if line.phase(late) != line.phase(late - 1)]
        self._changes = frozenset(changes[:MAX_PAIRS])

    def _compare(self, before: tuple[str, dict[str, Tensor]], after: tuple[str, dict[str, Tensor]]) -> None:
        (_, first), (_, second) = sorted((before, after), key=lambda named: named[0])
        shared = [name for name in first if name in second]
        if not shared:
            return
        first_N, second_N = (torch.cat([own[name].flatten() for name in shared]) for own in (first, second))
        cosine = F.cosine_similarity(first_N, second_N, dim=0, eps=0)
        self._compared.append(torch.stack([cosine, (first_N.norm() / second_N.norm()).log()]))


def _gradients(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.grad for name, value in network.named_parameters() if value.grad is not None}
