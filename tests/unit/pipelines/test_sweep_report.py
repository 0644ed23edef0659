"""A sweep's report has the ranks, means and fronts of its trials, JSON all through, however far the sweep has come."""

from __future__ import annotations

import json
import statistics
import tomllib
from typing import Any

import pytest

from pipelines.sweep.file import SweepFile
from pipelines.sweep.report import SweepReport, build_sweep_report, objective_label
from pipelines.sweep.values import read_sweep
from rlq_ray.config.load import build_config
from rlq_ray.distributed.runs import RunState
from tuning.importance import LEAST_TRIALS
from tuning.record import Training, Trial, fit_trials
from tuning.seeds import SeedModel

EPOCHS = 8
FILE = SweepFile.model_validate(
    {
        "name": "made-up",
        "title": "Made up",
        "recipe": "rlq_1_1",
        "objectives": ["lq/cc/mAP", "hq/cc/mAP"],
        "settings": {"train": {"epochs": EPOCHS}},
        "space": {
            "schedule.tad_steps": {"choice": [1, 2, 4]},
            "optimizer.learning_rate": {"log_uniform": [1e-4, 1e-2]},
            "loss.weights.feature_lq": {"uniform": [0.5, 2.0], "when": {"schedule.tad_steps": 2}},
        },
    }
)
SCORES = {0: (0.30, 0.34, 0.29), 1: (0.41, 0.44, 0.41), 2: (0.41,), 3: (0.385, 0.43, 0.38)}
"""LQ scores by seed of those that finished; HQ ones fall as these rise, but for those of 3, which are low too."""


def training(seed: int, lq: float, hq: float, state: RunState = "finished", **more: Any) -> Training:
    """Make a training whose third evaluation is the chosen one, of four."""
    epochs = range(2, EPOCHS + 1, 2) if state == "finished" else range(2, 5, 2)
    curve = [(float(epoch), 0.5 + 0.1 * (epoch == 6), lq - 0.1 * (epoch != 6), hq) for epoch in epochs]
    own = {"conflict": 0.1 * seed, "seconds": 10.0 * len(curve)} | more
    return Training(seed, f"made-up-seed-{seed}", f"run-{seed}", state, curve=curve, images=100, **own)


def values(number: int) -> dict[str, Any]:
    steps = (1, 2, 4)[number % 3]
    return {"schedule.tad_steps": steps, "optimizer.learning_rate": 1e-4 * (1 + number)} | (
        {"loss.weights.feature_lq": 1.0} if steps == 2 else {}
    )


@pytest.fixture
def trials() -> list[Trial]:
    made = [
        Trial(number, values(number), f"run-{number}", [
            training(seed, score, 0.1 if number == 3 else 0.8 - score) for seed, score in enumerate(scores)
        ])
        for number, scores in SCORES.items()
    ]  # fmt: skip
    others = [
        training(0, 0.2, 0.3, "stopped early", reason="behind others after epoch 4"),
        Training(0, "made-up-5", state="diverged", reason="the loss is not finite", seconds=3.0),
        Training(0, "made-up-6", state="failed", reason="no disk", seconds=1.0),
        training(0, 0.25, 0.3, "running"),
    ]
    return made + [Trial(number, values(number), None, [own]) for number, own in enumerate(others, len(made))]


def report_of(trials: list[Trial], *overrides: str) -> SweepReport:
    return build_sweep_report("made-up", FILE, trials, state="running", overrides=overrides)


def test_is_plain_json_and_has_all_that_is_shown(trials: list[Trial]) -> None:
    for upto in range(len(trials) + 1):
        report = report_of(trials[:upto])
        assert json.loads(json.dumps(report, allow_nan=False)) == report
        assert len(read_sweep(report).trials) == upto


def test_ranks_by_the_lower_bound_of_the_model(trials: list[Trial]) -> None:
    rows = report_of(trials)["trials"]
    model = SeedModel.fit({number: dict(enumerate(scores)) for number, scores in SCORES.items()})
    order = sorted(SCORES, key=lambda number: -model.lower_bound(number, 0.95))
    assert order == [1, 2, 3, 0]
    assert model.mean(2) > model.mean(1), "but one seed is not as sure as three"
    assert [row["rank"] for row in rows] == [order.index(n) + 1 if n in SCORES else None for n in range(len(rows))]
    for number in SCORES:
        row = rows[number]
        assert row["lower"] == pytest.approx(model.lower_bound(number, 0.95))
        assert row["intervals"][0] == pytest.approx(list(model.interval(number, 0.95) or ()))
        assert row["intervals"][1] == pytest.approx(list(fit_trials(trials, 1).interval(number, 0.95) or ()))
        assert row["is_indistinguishable"] == model.is_indistinguishable(order[0], number, 0.95)
        assert row["intervals"][0][0] < row["lower"] < row["mean"][0]
    assert not rows[0]["is_indistinguishable"]
    assert report_of(trials)["deviation"] == pytest.approx(model.deviation)


def test_means_are_those_of_the_chosen_checkpoints(trials: list[Trial]) -> None:
    rows = report_of(trials)["trials"]
    for number, hq in ((0, 0.49), (1, 0.38), (3, 0.1)):
        assert rows[number]["mean"] == pytest.approx([statistics.fmean(SCORES[number]), hq])
    first = rows[0]["trainings"][0]
    assert (first["score"], first["epoch"]) == (pytest.approx([0.3, 0.5]), 6)
    assert first["curve"] == [[2, pytest.approx(0.2)], [4, pytest.approx(0.2)], [6, 0.3], [8, pytest.approx(0.2)]]
    assert all(row["mean"] is None and row["rank"] is None for row in rows[4:])


def test_the_front_is_of_both_means(trials: list[Trial]) -> None:
    rows = report_of(trials)["trials"]
    assert all(mean > other for mean, other in zip(rows[2]["mean"], rows[1]["mean"], strict=True)), "2 beats 1"
    assert [row["number"] for row in rows if row["is_pareto"]] == [0, 2]
    alone = SweepFile.model_validate(FILE.model_dump() | {"objectives": ["lq/cc/mAP"]})
    report = build_sweep_report("made-up", alone, trials, state="finished", overrides=())
    assert not any(row["is_pareto"] for row in report["trials"])


def test_counts_reasons_and_what_was_spent_and_saved(trials: list[Trial]) -> None:
    report = report_of(trials)
    assert report["counts"] == {"finished": 10, "stopped early": 1, "diverged": 1, "failed": 1, "running": 1}
    assert [row["state"] for row in report["trials"][4:]] == ["stopped early", "diverged", "failed", "running"]
    assert [row["reason"] for row in report["trials"]][3:6] == [
        "",
        "behind others after epoch 4",
        "the loss is not finite",
    ]
    assert report["trained_seconds"] == 10 * 40 + 20 + 3 + 1 + 20
    assert report["skipped_seconds"] == 20, "epochs 5 to 8 at the pace of the first four"
    assert report["gradient_conflict"][:3] == [[0, pytest.approx(0.1)], [1, pytest.approx(0.1)], [2, 0.0]]


def test_says_what_was_searched(trials: list[Trial]) -> None:
    report = report_of(trials, "train.log_every_steps=5")
    assert report["objectives"][0] == {"metric": "validation/lq/cc/mAP", "label": "LQ cc mAP"}
    assert objective_label("motion-mild/general/top1") == "motion-mild general top1"
    assert (report["search"], report["scheduler"], report["seeds"]) == ("tpe", "asha", [0, 1, 2])
    assert report["keys"] == list(FILE.space)
    assert report["log_keys"] == ["optimizer.learning_rate"]
    assert report["overrides"] == ["train.log_every_steps=5"]


def test_the_winner_has_a_recipe_that_trains_it(trials: list[Trial]) -> None:
    winner = report_of(trials, "train.epochs=5")["winner"]
    assert winner["number"] == 1
    recipe = tomllib.loads(winner["recipe"])
    config = build_config(recipe, ["data.target=t", "data.external=e", "teacher=x"])
    assert (config.name, config.train.epochs, config.schedule.tad_steps) == ("made-up-winner", 5, 2)
    assert config.optimizer.learning_rate == 2e-4
    assert report_of(trials[4:])["winner"] is None


def test_concludes_no_more_than_was_shown(trials: list[Trial]) -> None:
    words = " ".join(report_of(trials)["conclusion"])
    assert "Trial 1 is the best: LQ cc mAP 42.0 (" in words
    assert "3 seeds." in words
    assert "do not tell it apart from 1 other (2)" in words
    assert "new seeds and measure it on the test identities" in words
    apart = " ".join(report_of(trials[:2])["conclusion"])
    assert "tell it apart from every other one" in apart
    one_seed = [Trial(number, values(number), None, trials[number].trainings[:1]) for number in (0, 1)]
    assert "1 seed." in " ".join(report_of(one_seed)["conclusion"])
    assert "nobody knows what of it is chance" in " ".join(report_of(one_seed)["conclusion"])
    assert report_of(trials[4:])["conclusion"] == ["No trial has finished yet."]


def test_importance_needs_some_configurations_and_finds_what_matters() -> None:
    def made(number: int) -> Trial:
        own = values(number) | {"optimizer.learning_rate": 1e-4 * (1 + 7 * number % 36)}
        score = 0.1 * own["schedule.tad_steps"] + 1e-3 * (5 * number % 36)
        return Trial(number, own, None, [training(0, score, 0.5)])

    many = [made(number) for number in range(36)]
    assert report_of(many[: LEAST_TRIALS - 1])["importance"] is None
    shares = report_of(many)["importance"]
    assert set(shares) == {"schedule.tad_steps", "optimizer.learning_rate"}, "what only some have is left out"
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["schedule.tad_steps"] > shares["optimizer.learning_rate"]
    alike = [Trial(n, values(n), None, [training(0, 0.3, 0.5)]) for n in range(12)]
    assert report_of(alike)["importance"] is None


def test_trials_are_not_changed_by_reporting_them(trials: list[Trial]) -> None:
    before = json.dumps([vars(own) for trial in trials for own in trial.trainings])
    report_of(trials)
    assert json.dumps([vars(own) for trial in trials for own in trial.trainings]) == before
    assert fit_trials(trials).mean(1) == pytest.approx(statistics.fmean(SCORES[1]))
