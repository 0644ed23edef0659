"""Which of the searched settings matter for the first objective."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import optuna

from tuning.record import Trial
from tuning.space import Domain, choices_made, choose

LEAST_TRIALS = 6
"""Scored configurations below which shares would be chance."""


def importance(space: Mapping[str, Domain], trials: Sequence[Trial]) -> dict[str, float] | None:
    """Estimate each setting's share of the variance of the first objective (PED-ANOVA, Watanabe et al., IJCAI 2023).

    Those of trainings that were stopped early count with what they had. None with too few configurations, or where all
    score alike.
    """
    scored = [(trial, score) for trial in trials if (score := _score(trial)) is not None]
    if len(scored) < LEAST_TRIALS or len({score for _, score in scored}) == 1:
        return None
    study = optuna.create_study(direction="maximize")
    for trial, score in scored:
        study.enqueue_trial(choices_made(space, trial.values))
        asked = study.ask()
        choose(space, asked)
        study.tell(asked, score)
    everywhere = [key for key in space if all(key in trial.values for trial, _ in scored)]
    if not everywhere:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return optuna.importance.get_param_importances(study, evaluator=evaluator, params=everywhere)


def _score(trial: Trial) -> float | None:
    if means := trial.means(1):  # the first seed, which all have
        return means[0]
    chosen = trial.trainings[0].chosen
    return chosen[1] if chosen else None
