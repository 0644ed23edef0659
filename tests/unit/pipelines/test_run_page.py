"""The page of a run shows what is known of it, however little that is."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from html import unescape
from typing import Any
from urllib.parse import unquote

import pytest

from pipelines.run_report.charts import MOST_POINTS, thinned
from pipelines.run_report.page import run_page
from pipelines.run_report.read import read_run
from pipelines.run_report.values import RunReport, read_scores
from rlq_ray.config.load import build_config
from rlq_ray.distributed.runs import RunEntry

CHARTS = ["scores", "losses-cap", "losses-tad", "conflict", "severities", "diagnostics", "course"]
HOSTILE = '</script><img src="http://example.org/x.png">{{ 7 * 7 }}'


def figures(page: str) -> dict[str, Any]:
    (line,) = re.findall(r"^const PAGE = (.*);$", page, re.MULTILINE)
    return json.loads(line)["figures"]


def text_of(page: str) -> str:
    return unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.DOTALL)))


def titles(figure: dict[str, Any]) -> list[str]:
    return [note["text"] for note in figure["layout"]["annotations"]]


def test_a_whole_run_has_every_chart(run_report: RunReport) -> None:
    page = run_page(run_report)
    assert list(figures(page)) == CHARTS
    for words in ("rlq-ltcc", "30 of 30", "c0ffee", "31.2 (28.0 … 34.0)", "train.steps_per_epoch", "Download"):
        assert words in text_of(page)
    assert 'class="nothing"' not in page


def test_says_what_is_best_and_what_chance_gives(run_report: RunReport) -> None:
    text = text_of(run_page(run_report))
    assert "The best checkpoint is that after CAP epoch 20: clothes-changing mAP 31.2 on HQ queries, 31.2 on LQ" in text
    assert "3.0 by chance" in text
    assert "so far" in text_of(run_page(replace(run_report, state="running")))


def test_the_best_epoch_is_marked_in_every_panel_of_the_scores(run_report: RunReport) -> None:
    scores = figures(run_page(run_report))["scores"]
    assert [shape["x0"] for shape in scores["layout"]["shapes"]] == [20] * 4
    assert titles(scores) == [f"{m}, {p}" for m in ("mAP", "top-1") for p in ("clothes-changing", "same clothes")]
    assert scores["data"][0]["y"] == [10, 20, 30], "in percent"
    assert [line["name"] for line in scores["data"] if line["showlegend"]] == ["HQ", "LQ"]


def test_every_term_of_every_phase_has_a_panel(run_report: RunReport) -> None:
    drawn = figures(run_page(run_report))
    assert titles(drawn["losses-cap"]) == ["all together", "identity", "identity clothes"]
    assert titles(drawn["losses-tad"]) == ["all together", "feature LQ"]


def test_severities_are_those_of_the_test_identities_where_they_were_measured(run_report: RunReport) -> None:
    (motion,) = figures(run_page(run_report))["severities"]["data"]
    assert motion["x"] == ["none", "mild", "severe"]
    assert "severities" not in figures(run_page(replace(run_report, test=())))


def test_a_run_that_has_only_begun_says_so(run_report: RunReport) -> None:
    nothing = {"losses": {}, "learning_rate": (), "course": {}, "scores": {}, "diagnostics": {}}
    begun = replace(run_report, state="running", best_epoch=None, validation=(), test=(), changes=[], **nothing)
    page = run_page(begun)
    assert figures(page) == {}
    text = text_of(page)
    assert "running: this is how far it has come" in text
    assert "No checkpoint has been measured yet." in text
    assert "No loss has been tracked yet." in text
    assert "every setting is that of the recipe rlq" in text


def test_what_ended_badly_says_why(run_report: RunReport) -> None:
    text = text_of(run_page(replace(run_report, state="diverged", reason="the cap losses of step 3 are not finite")))
    assert "It ended so: the cap losses of step 3 are not finite." in text


def test_the_configuration_can_be_trained_again(run_report: RunReport) -> None:
    (link,) = re.findall(r'href="data:application/toml;charset=utf-8,([^"]*)"', run_page(run_report))
    assert build_config(tomllib.loads(unquote(link))).model_dump(mode="json") == run_report.config


@pytest.mark.parametrize("field", ["name", "reason", "recipe"])
def test_texts_of_users_stay_texts(run_report: RunReport, field: str) -> None:
    plain, hostile = run_page(run_report), run_page(replace(run_report, **{field: HOSTILE}))
    assert plain.count("<img") == hostile.count("<img")
    assert "{{ 7 * 7 }}" in text_of(hostile)


def test_a_long_line_is_averaged_and_keeps_its_ends() -> None:
    steps, values = thinned([(step, float(step % 2)) for step in range(100_000)])
    assert len(steps) == MOST_POINTS
    assert set(values) == {0.5}
    assert 0 < steps[0] < 250
    assert thinned([(1, 2.0), (3, 4.0)]) == ([1, 3], [2, 4])


def test_reads_scores_in_the_order_of_protocols_and_severities() -> None:
    names = ("general/lq", "cc/lq", "cc/hq", "cc/motion-severe", "cc/motion-mild", "cc/motion", "sc/hq")
    metrics = {f"test/{q}/{p}/mAP": 0.5 for p, q in (name.split("/") for name in names)}
    found = read_scores({**metrics, "test/hq/cc/mAP_low": 0.4, "test/hq/cc/mAP_high": 0.6, "best/x": 1.0}, "test")
    qualities = [score.quality for score in found if score.protocol == "cc"]
    assert qualities == ["hq", "lq", "motion", "motion-mild", "motion-severe"]
    assert [score.protocol for score in found][-2:] == ["sc", "general"]
    assert found[0].intervals == {"mAP": (0.4, 0.6)}


@pytest.mark.parametrize(
    ("name", "recipe", "changed"),
    [
        ("tiny-rlq", "tiny-rlq", {"train.epochs"}),
        ("rlq", "rlq", {"train.epochs", "model.backbone"}),
        ("own", "own, which is not shipped: held against the defaults", {"train.epochs", "model.backbone"}),
    ],
)
def test_settings_are_held_against_the_recipe(run_report: RunReport, name: str, recipe: str, changed: set[str]) -> None:
    from pipelines.recipe import read_experiment
    from rlq_ray.config.load import to_dict

    sources = ["data.target=/t", "data.external=/e", "teacher=/c"]
    config = to_dict(read_experiment("tiny_rlq", [*sources, "train.epochs=7", f"name={name}"]))
    report = read_run(RunEntry("some-run", "running", config), "sqlite:///nowhere")
    assert report.recipe == recipe
    keys = {change.key for change in report.changes}
    assert changed <= keys
    assert not {"data.target", "data.external", "teacher", "name"} & keys
    if name == "tiny-rlq":
        (change,) = report.changes
        assert (change.recipe, change.own) == ("2", "7")
    assert not report.is_tracked
    assert "It was not tracked" in text_of(run_page(report))
