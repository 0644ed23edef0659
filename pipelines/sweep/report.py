"""From a sweep's record to a report in plain values: every configuration with its seeds, its interval and its rank.

Knows neither Ray nor MLflow nor how a report looks.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import tomli_w

from pipelines.sweep.file import SweepFile
from rlq_ray.tracking.environment import git_state
from tuning.importance import importance
from tuning.population import changes_of
from tuning.record import Training, Trial, count_states, fit_trials
from tuning.seeds import SeedModel, pareto_front
from tuning.space import Values

SweepReport = dict[str, Any]

NAMES = {"hq": "HQ", "lq": "LQ"}


def build_sweep_report(
    name: str, file: SweepFile, trials: Sequence[Trial], *, state: str, overrides: Sequence[str]
) -> SweepReport:
    """Summarise a sweep as far as it has come.

    Args:
        name: of the sweep.
        file: what it searches, and how.
        trials: its configurations so far.
        state: `running`, `finished` or `interrupted`.
        overrides: settings for all trainings.
    """
    confidence = file.seeds.confidence
    models = [fit_trials(trials, objective) for objective in range(len(file.objectives))]
    ranked = _ranked(trials, models[0], confidence)
    rank = {trial.number: place for place, trial in enumerate(ranked, 1)}
    means = {trial.number: [model.mean(trial.number) for model in models] for trial in ranked}
    front = pareto_front(means) if len(file.objectives) > 1 else set()
    rows = [
        {
            "number": trial.number,
            "state": trial.state,
            "reason": trial.trainings[-1].reason,
            "values": _values(trial),
            "rank": rank.get(trial.number),
            "mean": means.get(trial.number),
            **_certainty(trial, ranked, models, confidence),
            "is_pareto": trial.number in front,
            "trainings": [_training(training) for training in trial.trainings],
        }
        for trial in trials
    ]
    report: SweepReport = {
        "name": name,
        "title": file.title,
        "state": state,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": (git_state() or {}).get("commit", "unknown"),
        "overrides": list(overrides),
        "objectives": [
            {"metric": metric, "label": objective_label(objective)}
            for metric, objective in zip(file.metrics, file.objectives, strict=True)
        ],
        "search": file.search.kind,
        "scheduler": file.stopping.kind,
        "seeds": list(file.seeds.values),
        "confidence": confidence,
        "keys": list(file.space),
        "log_keys": [key for key, domain in file.space.items() if domain.is_log],
        "trials": rows,
        "deviation": models[0].deviation,
        "importance": importance(file.space, trials),
        "gradient_conflict": _conflicts(trials),
        "winner": {"number": ranked[0].number, "recipe": _recipe(file, ranked[0], name, overrides)} if ranked else None,
        "counts": count_states(trials),
        "trained_seconds": sum(training.seconds for trial in trials for training in trial.trainings),
        "skipped_seconds": _skipped_seconds(trials, file.epochs(overrides)),
    }
    report["conclusion"] = conclusion(report)
    return report


def objective_label(objective: str) -> str:
    """Write an objective for people: `lq/cc/mAP` as `LQ cc mAP`."""
    quality, protocol, metric = objective.split("/")
    return f"{NAMES.get(quality, quality)} {protocol} {metric}"


def conclusion(report: Mapping[str, Any]) -> list[str]:
    """Say in sentences what a sweep has shown, and what it has not."""
    ranked = sorted((row for row in report["trials"] if row["rank"]), key=lambda row: row["rank"])
    if not ranked:
        return ["No trial has finished yet."]
    best, label = ranked[0], report["objectives"][0]["label"]
    seeds = len({one["seed"] for one in best["trainings"] if one["state"] == "finished"})
    text = f"Trial {best['number']} is the best: {label} {_score(best)} on the validation identities"
    sentences = [f"{text}, {seeds} seed{'' if seeds == 1 else 's'}."]
    if report["deviation"] is None:
        return [*sentences, "No two trials share two seeds yet, so nobody knows what of it is chance."]
    same = [str(row["number"]) for row in ranked[1:] if row["is_indistinguishable"]]
    percent = f"{100 * report['confidence']:.0f} %"
    if same:
        sentences.append(
            f"At {percent} the seeds do not tell it apart from {len(same)} other{'' if len(same) == 1 else 's'} "
            f"({', '.join(same)})."
        )
    else:
        sentences.append(f"At {percent} the seeds tell it apart from every other one.")
    sentences.append(
        f"Trainings scatter by {100 * report['deviation']:.1f} points, beside what a seed does to all. The best of "
        "many is chosen for its luck too, and intervals over seeds say nothing of other identities: train the winner "
        "with new seeds and measure it on the test identities before you believe its score."
    )
    return sentences


def _score(row: Mapping[str, Any]) -> str:
    text = f"{100 * row['mean'][0]:.1f}"
    if row["intervals"][0]:
        low, high = row["intervals"][0]
        text += f" ({100 * low:.1f}–{100 * high:.1f})"
    return text


def _ranked(trials: Sequence[Trial], model: SeedModel, confidence: float) -> list[Trial]:
    """Sort the configurations that finished a training by their lower bound, the earlier first where they tie."""
    finished = [trial for trial in trials if trial.scores()]
    return sorted(finished, key=lambda trial: (-model.lower_bound(trial.number, confidence), trial.number))


def _certainty(trial: Trial, ranked: Sequence[Trial], models: Sequence[SeedModel], confidence: float) -> dict[str, Any]:
    """Say how sure a configuration's means are, and whether seeds tell it apart from the best by the first one."""
    if not trial.scores():
        return {"lower": None, "intervals": None, "is_indistinguishable": False}
    first, number = models[0], trial.number
    intervals = [model.interval(number, confidence) for model in models]
    return {
        "lower": first.lower_bound(number, confidence),
        "intervals": [list(interval) if interval else None for interval in intervals],
        "is_indistinguishable": first.is_indistinguishable(ranked[0].number, number, confidence),
    }


def _training(training: Training) -> dict[str, Any]:
    chosen = training.chosen
    return {
        "seed": training.seed,
        "run": training.run,
        "state": training.state,
        "score": list(chosen[1:]) if chosen else None,
        "epoch": int(chosen[0]) if chosen else None,
        "seconds": training.seconds,
        "curve": [list(point) for point in training.first_objective()],
    }


def _values(trial: Trial) -> Values:
    """Give what a configuration changes; of a member of a population what it has come to."""
    part = trial.trainings[-1].part
    return part.values if part else trial.values


def _conflicts(trials: Sequence[Trial]) -> list[list[float]] | None:
    found = []
    for trial in trials:
        known = [training.conflict for training in trial.trainings if training.conflict is not None]
        if known:
            found.append([trial.number, statistics.fmean(known)])
    return found or None


def _skipped_seconds(trials: Sequence[Trial], epochs: int) -> float:
    """Estimate what early stopping saved: each would have gone on at its own pace."""
    skipped = 0.0
    for trial in trials:
        for training in trial.trainings:
            if training.state == "stopped early" and training.curve:
                last = training.curve[-1][0]
                skipped += training.seconds * (epochs - last) / last
    return skipped


def _recipe(file: SweepFile, trial: Trial, name: str, overrides: Sequence[str]) -> str:
    changes = changes_of(file.space, trial, trial.finished()[-1])
    settings = {**file.recipe_of(changes, overrides), "name": f"{name}-winner"}
    head = (
        f"# Configuration {trial.number} of the sweep {name}.\n"
        "#   rlq train FILE.toml data.target=URI data.external=URI teacher=URI\n"
    )
    return head + tomli_w.dumps(settings)
