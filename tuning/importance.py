"""Which of the searched settings matter for the first objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import optuna

from tuning.record import Trial
from tuning.space import Domain, choices_made, choose

LEAST_TRIALS = 6
"""Scored configurations below which shares would be chance."""


def importance(space: Mapping[str, Domain], trials: Sequence[Trial]) -> dict[str, float] | None:
    """Estimate each setting's share of the variance of the first objective (fANOVA, Hutter et al., ICML 2014).

    The first seed counts, which all have, also where it was stopped early; settings that count under a condition are
    left out. None with too few configurations, or where all score alike.
    """
    scored = [(trial, chosen[1]) for trial in trials if (chosen := trial.trainings[0].chosen)]
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
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator, params=everywhere)
    return {key: float(share) for key, share in shares.items()}
