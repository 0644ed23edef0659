"""From outcomes to a report in plain values: every number with its protocol, its seeds and its interval.

Knows neither Ray nor MLflow nor how a report looks.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pipelines.experiment_file import ExperimentFile
from pipelines.outcomes import Outcome
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.evaluate import BOOTSTRAP_SEED, Difference, SeedScores, differences_of_seeds, score_seeds
from rlq_ray.evaluate.ranking import Ranking

Report = dict[str, Any]
Outcomes = Mapping[str, Sequence[Outcome]]

METRICS = ("mAP", "top1", "mINP")


def build_report(
    file: ExperimentFile, outcomes: Outcomes, baselines: Mapping[str, Outcome], config: ExperimentConfig
) -> Report:
    """Summarise an experiment as far as it has come.

    Args:
        file: rows, labels and comparisons.
        outcomes: by row, each by seed.
        baselines: what was measured without a training on the target set, by label.
        config: data, degradation and evaluation, which all rows share.
    """
    builder = _Builder(config)
    first = file.rows[0].key
    rows = [
        {
            "name": row.key,
            "label": row.label,
            "recipe": row.recipe,
            "settings": row.settings,
            **builder.summary(outcomes[row.key]),
            "gain": builder.gains(outcomes, first, row.key) if row.key != first else {},
        }
        for row in file.rows
        if row.key in outcomes
    ]
    return {
        "experiment": file.name,
        "title": file.title,
        "protocol": config.evaluate.select_on,
        "chosen_on": "validation identities",
        "bootstrap_samples": config.evaluate.bootstrap_samples,
        "preset": file.preset,
        "seeds": sorted({outcome.seed for own in outcomes.values() for outcome in own}),
        "hardware": sorted({outcome.hardware for own in outcomes.values() for outcome in own}),
        "commits": sorted({outcome.commit for own in outcomes.values() for outcome in own}),
        "settings": file.settings,
        "teacher": {"recipe": file.teacher, "seed": file.teacher_seed, "settings": file.teacher_settings},
        "test": builder.test_set(outcomes),
        "compared_with": file.rows[0].label,
        "rows": rows,
        "baselines": [{"label": name, "scores": builder.scores([outcome])} for name, outcome in baselines.items()],
        "comparisons": [
            {**comparison.model_dump(), "gain": builder.gains(outcomes, comparison.before, comparison.after)}
            for comparison in file.comparisons
            if comparison.before in outcomes and comparison.after in outcomes
        ],
    }


class _Builder:
    """Summaries under one evaluation."""

    def __init__(self, config: ExperimentConfig) -> None:
        self._protocol = config.evaluate.select_on
        self._samples = config.evaluate.bootstrap_samples

    def summary(self, own: Sequence[Outcome]) -> Report:
        """Summarise one row over its seeds."""
        return {
            "seeds": [outcome.seed for outcome in own],
            "epochs": [outcome.epoch for outcome in own],
            "scores": self.scores(own),
            "best_on_test": self._best_on_test(own),
            "diagnostics": _at_chosen_epoch(own, "diagnostics/"),
        }

    def scores(self, own: Sequence[Outcome]) -> Report:
        """Give quality → protocol → metric; all protocols for HQ and LQ, the main one for single artefacts."""
        tree: Report = {}
        for score in own[0].evaluation.scores:
            if score.quality not in ("hq", "lq") and score.protocol != self._protocol:
                continue
            rankings = _rankings(own, score.quality, score.protocol)
            found = score_seeds(rankings, samples=self._samples, seed=BOOTSTRAP_SEED)
            tree.setdefault(score.quality, {})[score.protocol] = {
                **{metric: _plain(found[metric]) for metric in METRICS},
                "chance_mAP": score.metrics.chance_map,
            }
        return tree

    def gains(self, outcomes: Outcomes, before: str, after: str) -> Report:
        """Give quality → metric → what one row gains on another under the main protocol, over the seeds of both."""
        if before not in outcomes or after not in outcomes:
            return {}
        seeds = {o.seed for o in outcomes[before]} & {o.seed for o in outcomes[after]}
        if not seeds:
            return {}
        old, new = ([o for o in outcomes[key] if o.seed in seeds] for key in (before, after))
        tree: Report = {"seeds": sorted(seeds)}
        for score in old[0].evaluation.scores:
            if score.protocol == self._protocol:
                rankings = (_rankings(own, score.quality, score.protocol) for own in (old, new))
                found = differences_of_seeds(*rankings, samples=self._samples, seed=BOOTSTRAP_SEED)
                tree[score.quality] = {metric: _plain(found[metric]) for metric in ("mAP", "top1")}
        return tree

    def test_set(self, outcomes: Outcomes) -> Report:
        """Count what is measured on."""
        ranking = next(iter(outcomes.values()))[0].evaluation["hq", self._protocol].ranking
        valid_Q = ranking.valid_Q
        return {
            "identities": len(set(ranking.query_identity_Q[valid_Q].tolist())),
            "queries": int(valid_Q.sum()),
            "queries_left_out": int((~valid_Q).sum()),
        }

    def _best_on_test(self, own: Sequence[Outcome]) -> Report:
        """What the field's tables print: each metric's best epoch on the test identities, metrics apart."""
        tree: Report = {}
        for quality in ("hq", "lq"):
            for metric in ("mAP", "top1"):
                name = f"test_curve/{quality}/{self._protocol}/{metric}"
                if all(name in outcome.curves for outcome in own):
                    best = [max(value for _, value in outcome.curves[name]) for outcome in own]
                    tree.setdefault(quality, {})[metric] = _spread(best)
        return tree


def _rankings(own: Sequence[Outcome], quality: str, protocol: str) -> list[Ranking]:
    return [outcome.evaluation[quality, protocol].ranking for outcome in own]


def _at_chosen_epoch(own: Sequence[Outcome], prefix: str) -> Report:
    """Average what was tracked at each checkpoint's epoch over the seeds."""
    found: dict[str, list[float]] = {}
    for outcome in own:
        for name, curve in outcome.curves.items():
            if name.startswith(prefix):
                values = [value for epoch, value in curve if epoch == outcome.epoch]
                found.setdefault(name.removeprefix(prefix), []).extend(values)
    return {name: _spread(values) for name, values in sorted(found.items()) if values}


def _spread(values: Sequence[float]) -> Report:
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "deviation": deviation, "values": list(values)}


def _plain(value: SeedScores | Difference) -> Report:
    if isinstance(value, Difference):
        return {**asdict(value), "gains": list(value.gains)}
    ends = asdict(value.interval) if value.interval else {"low": None, "high": None}
    return {"mean": value.mean, "deviation": value.deviation, "values": list(value.values), **ends}
