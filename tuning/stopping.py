"""Which trainings of a sweep are not worth their end: rules that look at learning curves alone. Pure.

The rules are those of Ray Tune's schedulers, which keep what they saw in memory; these are functions of what was
recorded, so a sweep that goes on after its driver died decides as if nothing had happened.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

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
        self._scores: dict[int, dict[str, float]] = {rung: {} for rung in self._rungs}

    def should_stop(self, name: str, curve: Curve) -> bool:
        """Take note of a training's newest evaluation, and tell whether it should stop there."""
        epoch, score = curve[-1]
        for rung in reversed(self._rungs):
            recorded = self._scores[rung]
            if epoch < rung or name in recorded:
                continue
            cutoff = np.percentile(list(recorded.values()), 100 * (1 - 1 / self._reduction)) if recorded else -math.inf
            recorded[name] = score
            return score < cutoff
        return False


class MedianRule:
    """The median stopping rule (Golovin et al., KDD 2017).

    A training stops if its best score so far is below the median of the others' mean scores up to the same epoch.

    Args:
        grace_epochs: no training is stopped before.
        least_others: nor while fewer others have come as far.
    """

    def __init__(self, grace_epochs: int, least_others: int = 3) -> None:
        self._grace_epochs = grace_epochs
        self._least_others = least_others
        self._curves: dict[str, Curve] = {}

    def should_stop(self, name: str, curve: Curve) -> bool:
        """Take note of a training's newest evaluation, and tell whether it should stop there."""
        self._curves[name] = list(curve)
        epoch = curve[-1][0]
        if epoch < self._grace_epochs:
            return False
        means = _means_until(epoch, {other: own for other, own in self._curves.items() if other != name})
        return len(means) >= self._least_others and max(score for _, score in curve) < statistics.median(means)


def _means_until(epoch: int, curves: Mapping[str, Curve]) -> list[float]:
    """Average each curve up to an epoch, of the curves that have come so far."""
    return [
        statistics.fmean(score for at, score in curve if at <= epoch)
        for curve in curves.values()
        if curve[-1][0] >= epoch
    ]
