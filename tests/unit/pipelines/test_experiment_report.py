"""Numbers of a report are those of the outcomes, over seeds, with intervals, and JSON all through."""

from __future__ import annotations

import json
import statistics

import pytest

from pipelines.experiment_report import Report, build_report


@pytest.fixture(scope="module")
def report(made_up) -> Report:
    return build_report(made_up.file, made_up.outcomes, {}, made_up.config)


def test_is_plain_json(report: Report) -> None:
    assert json.loads(json.dumps(report)) == report


def test_says_what_was_measured_and_with_how_many_seeds(report: Report) -> None:
    assert report["protocol"] == "cc"
    assert report["seeds"] == [0, 1, 2]
    assert report["test"] == {"identities": 10, "queries": 120, "queries_left_out": 0}
    assert [row["seeds"] for row in report["rows"]] == [[0, 1, 2]] * 2
    assert report["chosen_on"] == "validation identities"


def test_scores_are_means_and_deviations_over_the_seeds(report: Report, made_up) -> None:
    own = [o.evaluation["lq", "cc"].metrics.mean_ap for o in made_up.outcomes["rlq"]]
    score = report["rows"][1]["scores"]["lq"]["cc"]["mAP"]
    assert score["values"] == pytest.approx(own)
    assert score["mean"] == pytest.approx(statistics.fmean(own))
    assert score["deviation"] == pytest.approx(statistics.stdev(own))
    assert score["low"] < score["mean"] < score["high"]


def test_single_artefacts_are_reported_under_the_main_protocol_alone(report: Report) -> None:
    scores = report["rows"][0]["scores"]
    assert set(scores["hq"]) == {"general", "cc"}
    assert set(scores["motion-severe"]) == {"cc"}


def test_gains_are_paired_differences_with_the_first_row(report: Report, made_up) -> None:
    first, second = report["rows"]
    assert first["gain"] == {}
    gain = second["gain"]["lq"]["mAP"]
    means = [row["scores"]["lq"]["cc"]["mAP"]["mean"] for row in (first, second)]
    assert gain["delta"] == pytest.approx(means[1] - means[0])
    assert 0 < gain["low"] < gain["delta"] < gain["high"]
    assert len(gain["gains"]) == 3
    assert report["comparisons"][0]["gain"]["lq"]["mAP"] == gain


def test_gains_are_over_the_seeds_that_both_rows_have(made_up) -> None:
    fewer = {"base": made_up.outcomes["base"], "rlq": made_up.outcomes["rlq"][1:]}
    gain = build_report(made_up.file, fewer, {}, made_up.config)["rows"][1]["gain"]
    assert gain["seeds"] == [1, 2]
    assert len(gain["lq"]["mAP"]["gains"]) == 2
    apart = {"base": made_up.outcomes["base"][:1], "rlq": made_up.outcomes["rlq"][1:]}
    assert build_report(made_up.file, apart, {}, made_up.config)["rows"][1]["gain"] == {}


def test_a_row_without_the_first_one_has_no_gain(made_up) -> None:
    report = build_report(made_up.file, {"rlq": made_up.outcomes["rlq"]}, {}, made_up.config)
    assert [(row["name"], row["gain"]) for row in report["rows"]] == [("rlq", {})]
    assert report["compared_with"] == "base model"


def test_rows_that_were_not_trained_yet_are_left_out(made_up) -> None:
    report = build_report(made_up.file, {"base": made_up.outcomes["base"]}, {}, made_up.config)
    assert [row["name"] for row in report["rows"]] == ["base"]
    assert report["comparisons"] == []


def test_best_on_test_is_the_best_epoch_of_every_seed_and_diagnostics_are_those_of_the_checkpoint(
    report: Report,
) -> None:
    row = report["rows"][0]
    assert row["best_on_test"]["lq"]["mAP"]["values"] == [0.5] * 3
    assert row["diagnostics"]["silhouette_quality"]["mean"] == pytest.approx(0.3), "that of epoch 3"


def test_baselines_stand_beside_the_rows(made_up) -> None:
    baselines = {"person colours": made_up.outcomes["base"][0]}
    (own,) = build_report(made_up.file, made_up.outcomes, baselines, made_up.config)["baselines"]
    assert own["label"] == "person colours"
    assert own["scores"]["hq"]["cc"]["mAP"]["deviation"] is None
