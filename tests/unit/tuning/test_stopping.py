"""Rules of early stopping decide as Ray Tune's schedulers do, and as before when they are told the curves again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule, TrialScheduler

from tuning.stopping import Asha, MedianRule, asha_rungs

Curves = dict[str, list[tuple[int, float]]]
Rule = Asha | MedianRule
EPOCHS = 16


@dataclass(frozen=True)
class Case:
    """Curves of some trainings, and the order in which their evaluations arrive."""

    curves: Curves
    order: list[str]


def draw_case(seed: int) -> Case:
    """Draw curves that are evaluated in rhythms of their own and end at their last epoch, in a random order."""
    rng = np.random.default_rng(seed)
    curves: Curves = {}
    for number in range(8):
        epochs = sorted({*range(int(rng.integers(1, 4)), EPOCHS, int(rng.integers(1, 5))), EPOCHS})
        curves[str(number)] = [(epoch, float(rng.normal(number * epoch / 100, 0.15))) for epoch in epochs]
    order = [name for name, curve in curves.items() for _ in curve]
    return Case(curves, [order[place] for place in rng.permutation(len(order))])


def decisions(case: Case, should_stop: Callable[[str, list[tuple[int, float]]], bool]) -> list[tuple[str, int, bool]]:
    """Feed the evaluations in their order until their training stops, and list what was decided."""
    told = dict.fromkeys(case.curves, 0)
    stopped: set[str] = set()
    found = []
    for name in case.order:
        if name in stopped:
            continue
        told[name] += 1
        curve = case.curves[name][: told[name]]
        decided = should_stop(name, curve)
        found.append((name, curve[-1][0], decided))
        if decided:
            stopped.add(name)
    return found


def tunes(scheduler: TrialScheduler) -> Callable[[str, Sequence[tuple[int, float]]], bool]:
    """Ask a scheduler of Tune's, which takes Tune's trials; but at the end, where Tune has nothing left to stop."""
    trials: dict[str, SimpleNamespace] = {}
    controller = SimpleNamespace(get_live_trials=list)

    class Trial(SimpleNamespace):
        __hash__ = object.__hash__  # type: ignore[assignment]  # Tune keeps them in dictionaries

    def ask(name: str, curve: Sequence[tuple[int, float]]) -> bool:
        if name not in trials:
            trials[name] = Trial(trial_id=name)
            scheduler.on_trial_add(controller, trials[name])
        epoch, score = curve[-1]
        decided = scheduler.on_trial_result(controller, trials[name], {"epoch": epoch, "score": score})
        return decided == TrialScheduler.STOP and epoch < EPOCHS

    return ask


@pytest.mark.parametrize(("grace", "reduction"), [(1, 2), (2, 2), (3, 2), (1, 3), (2, 4), (5, 3)])
def test_asha_decides_as_tune_does(grace: int, reduction: int) -> None:
    stopped = 0
    for seed in range(60):
        case = draw_case(seed)
        theirs = AsyncHyperBandScheduler(
            "epoch", "score", "max", max_t=EPOCHS, grace_period=grace, reduction_factor=reduction, brackets=1
        )
        own = decisions(case, Asha(grace, reduction, EPOCHS).should_stop)
        assert own == decisions(case, tunes(theirs)), seed
        stopped += sum(decided for _, _, decided in own)
    assert stopped > 60, "else nothing was compared"


@pytest.mark.parametrize("grace", [1, 2, 5])
def test_the_median_rule_decides_as_tune_does(grace: int) -> None:
    stopped = 0
    for seed in range(60):
        case = draw_case(seed)
        theirs = MedianStoppingRule("epoch", "score", "max", grace_period=grace, min_samples_required=3)
        own = decisions(case, MedianRule(grace, EPOCHS).should_stop)
        assert own == decisions(case, tunes(theirs)), seed
        stopped += sum(decided for _, _, decided in own)
    assert stopped > 60, "else nothing was compared"


@pytest.mark.parametrize("make", [lambda: Asha(1, 2, EPOCHS), lambda: MedianRule(2, EPOCHS)])
def test_a_rule_that_is_told_all_curves_again_decides_as_the_one_that_never_died(make: Callable[[], Rule]) -> None:
    for seed in range(30):
        case = draw_case(seed)
        whole = decisions(case, make().should_stop)
        for cut in (1, len(whole) // 3, 2 * len(whole) // 3):
            again = make()
            until = {name: max((e for n, e, _ in whole[:cut] if n == name), default=0) for name in case.curves}
            for name in reversed(case.curves):  # whatever the order
                for length, (epoch, _) in enumerate(case.curves[name], 1):
                    if epoch <= until[name]:
                        again.should_stop(name, case.curves[name][:length])
            left = iter(whole[cut:])
            for name, epoch, decided in left:
                curve = [point for point in case.curves[name] if point[0] <= epoch]
                assert again.should_stop(name, curve) == decided, (seed, cut, name, epoch)


def test_rungs_are_powers_from_the_grace_on_and_end_before_the_last_epoch() -> None:
    assert asha_rungs(1, 2, 16) == [1, 2, 4, 8]
    assert asha_rungs(4, 3, 40) == [4, 12, 36]
    assert asha_rungs(8, 2, 8) == []


def test_asha_by_hand() -> None:
    rule = Asha(grace_epochs=2, reduction=2, epochs=8)
    assert not rule.should_stop("a", [(1, 0.0)]), "before the grace"
    assert not rule.should_stop("a", [(1, 0.0), (2, 0.3)]), "the first one passes"
    assert rule.should_stop("b", [(2, 0.2)])
    assert not rule.should_stop("c", [(2, 0.25)]), "the median of 0.3 and 0.2 passes"
    assert not rule.should_stop("a", [(2, 0.3), (3, 0.0)]), "between rungs"


def test_the_median_rule_by_hand() -> None:
    rule = MedianRule(grace_epochs=2, epochs=8)
    for name, score in (("a", 0.1), ("b", 0.2), ("c", 0.3)):
        assert not rule.should_stop(name, [(1, 0.9), (2, score)]), "fewer than three others"
    assert rule.should_stop("d", [(1, 0.0), (2, 0.19)]), "0.2 is the median of the others at epoch 2"
    assert not rule.should_stop("e", [(1, 0.21), (2, 0.0)]), "its best counts"
    assert not rule.should_stop("f", [(1, 0.0)]), "before the grace"


@pytest.mark.parametrize("rule", [Asha(1, 2, 8), MedianRule(1, 8)])
def test_no_training_is_stopped_at_its_end(rule: Rule) -> None:
    """An evaluation that comes after several rungs at once would else be held against the first of them."""
    for name in "abcd":
        rule.should_stop(name, [(3, 0.5)])
        rule.should_stop(name, [(3, 0.5), (7, 0.9)])
    assert not rule.should_stop("e", [(8, 0.0)])


def test_the_median_rule_takes_curves_of_different_rhythms() -> None:
    rule = MedianRule(grace_epochs=3, epochs=8)
    for name in "abc":
        rule.should_stop(name, [(2, 0.9), (6, 0.9)])
    assert not rule.should_stop("d", [(4, 0.1)]), "no other has a score from the grace up to epoch 4"
