"""Which trainings of a sweep are not worth their end: rules that look at learning curves alone. Pure.

The rules decide as Ray Tune's schedulers do, but for a training's last evaluation, where nothing is left to be stopped.
What they remember is what recorded curves tell, in whatever order they are told again: a sweep that goes on after its
driver died decides as if nothing had happened.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np

Curve = Sequence[tuple[int, float]]
"""(CAP epoch, score) of every evaluation, in order; higher is better."""


def asha_rungs(grace_epochs: int, reduction: int, epochs: int) -> list[int]:
    """List the epochs at which trainings are compared: from `grace_epochs` on in powers of `reduction`."""
    rungs = []
    rung = grace_epochs
    while rung < epochs:
        rungs.append(rung)
        rung *= reduction
    return rungs


class Asha:
    """Asynchronous successive halving (Li et al., MLSys 2020), with one bracket.

    At each rung a training goes on if its score is within the best 1/`reduction` of those that came there before it.

    Args:
        grace_epochs: no training is stopped before.
        reduction: share of trainings that pass a rung, inverted; and the factor between rungs.
        epochs: of a whole training.
    """

    def __init__(self, grace_epochs: int, reduction: int, epochs: int) -> None:
        self._rungs = asha_rungs(grace_epochs, reduction, epochs)
        self._reduction = reduction
        self._epochs = epochs
        self._scores: dict[int, dict[str, float]] = {rung: {} for rung in self._rungs}

    def should_stop(self, name: str, curve: Curve) -> bool:
        """Take note of a training's newest evaluation, and tell whether it should stop there, before its end."""
        epoch, score = curve[-1]
        if epoch >= self._epochs:
            return False
        for rung in reversed(self._rungs):
            recorded = self._scores[rung]
            if epoch < rung or name in recorded:
                continue
            cutoff = np.percentile(list(recorded.values()), 100 * (1 - 1 / self._reduction)) if recorded else -math.inf
            recorded[name] = score
            return bool(score < cutoff)
        return False


class MedianRule:
    """The median stopping rule (Golovin et al., KDD 2017).

    A training stops if its best score so far is below the median of the others' mean scores from `grace_epochs` up to
    the same epoch.

    Args:
        grace_epochs: no training is stopped before.
        epochs: of a whole training.
        least_others: nor while fewer others have come as far.
    """

    def __init__(self, grace_epochs: int, epochs: int, least_others: int = 3) -> None:
        self._grace_epochs = grace_epochs
        self._epochs = epochs
        self._least_others = least_others
        self._curves: dict[str, Curve] = {}

    def should_stop(self, name: str, curve: Curve) -> bool:
        """Take note of a training's newest evaluation, and tell whether it should stop there, before its end."""
        self._curves[name] = list(curve)
        epoch = curve[-1][0]
        if not self._grace_epochs <= epoch < self._epochs:
            return False
        others = [own for other, own in self._curves.items() if other != name and own[-1][0] >= epoch]
        scores = [[score for at, score in own if self._grace_epochs <= at <= epoch] for own in others]
        means = [statistics.fmean(own) for own in scores if own]
        return len(means) >= self._least_others and max(score for _, score in curve) < statistics.median(means)
