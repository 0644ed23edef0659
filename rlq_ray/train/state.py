"""Everything that a training changes, which is everything that a checkpoint holds.

What is drawn depends on (seed, phase, step) alone, so no random state needs keeping.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from rlq_ray.phases import ClothesClassifierTraining, Phase
from rlq_ray.train.gradients import GradientComparison


@dataclass
class Best:
    """The evaluation on the validation identities that has been the best so far."""

    score: float = float("-inf")
    epoch: int = -1


@dataclass
class TrainState:
    """Networks, optimisers, data positions and counters of one training.

    `step` counts the optimiser steps of all phases that are done; `comparison` is what was measured on the way since
    the last evaluation.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    clothes: ClothesClassifierTraining | None
    phases: dict[str, Phase]
    comparison: GradientComparison
    step: int = 0
    best: Best = field(default_factory=Best)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values only, so that it loads with `weights_only`."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "clothes": self.clothes.state_dict() if self.clothes else None,
            "loaders": {name: phase.loader.state_dict() for name, phase in self.phases.items()},
            "comparison": self.comparison.state_dict(),
            "step": self.step,
            "best": {"score": self.best.score, "epoch": self.best.epoch},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to where a checkpoint was made.

        Where the checkpoint has no clothes classifier, none of its stages trains one, and this training's stays as it
        was built.
        """
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.clothes and state["clothes"]:
            self.clothes.load_state_dict(state["clothes"])
        for name, phase in self.phases.items():
            phase.loader.load_state_dict(state["loaders"][name])
        if "comparison" in state:  # checkpoints of before it was written were all made after an evaluation
            self.comparison.load_state_dict(state["comparison"], next(self.network.parameters()).device)
        self.step = state["step"]
        self.best = Best(**state["best"])
