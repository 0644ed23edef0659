"""The page and the terminal show what a sweep's report says, whatever part of it there is yet."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from io import StringIO
from typing import Any
from urllib.parse import unquote

import pytest
from plotly.offline import get_plotlyjs
from pydantic import ValidationError
from rich.console import Console

from pipelines.sweep.page import sweep_page
from pipelines.sweep.table import sweep_tables

CHARTS = ["forest", "pareto", "parallel", "importance", "curves", "conflict"]
HOSTILE = '</script><script src="http://example.org/x.js"></script><img src="http://example.org/x.png">{{ 7 * 7 }}%{x}'


class Page(HTMLParser):
    """What a browser would make of a page: tags with their attributes, the ranking's cells, text outside scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside == "style":
            self.styles.append(data)
        else:
            self.text += data
            if self._inside in ("td", "button") and self.rows and self.rows[-1]:
                self.rows[-1][-1] += data

    def all_of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def figures(self) -> dict[str, Any]:
        (line,) = (line for line in self.scripts[-1].splitlines() if line.startswith("const PAGE = "))
        return json.loads(line.removeprefix("const PAGE = ").removesuffix(";"))["figures"]


def page_of(report: dict[str, Any]) -> Page:
    return Page(sweep_page(report))


def terminal(report: dict[str, Any]) -> str:
    console = Console(file=StringIO(), width=200)
    for table in sweep_tables(report):
        console.print(table)
    return console.file.getvalue()


def test_a_whole_report_has_every_section_and_every_chart(sweep_report) -> None:
    page = page_of(sweep_report)
    assert list(page.figures()) == CHARTS
    assert [a["id"] for a in page.all_of("div") if "chart" in a.get("class", "")] == CHARTS
    for text in ("CAP : TAD step ratio", "Two TAD steps to a CAP step are no worse than one.", "1 h 29 min", "c0ffee"):
        assert text in page.text
    assert "nothing" not in [a.get("class") for a in page.all_of("p")]


def test_one_objective_has_no_front(sweep_report) -> None:
    sweep_report["objectives"] = sweep_report["objectives"][:1]
    for trial in sweep_report["trials"]:
        trial |= {"mean": trial["mean"][:1] if "mean" in trial else None, "is_pareto": False}
    page = page_of(sweep_report)
    assert "pareto" not in page.figures()
    assert "◆" not in page.text


def test_a_report_of_nothing_says_so() -> None:
    page = page_of({"name": "new", "trials": None, "importance": None, "winner": None})
    assert page.figures() == {}
    assert page.rows == []
    assert "No trial has begun yet." in page.text
    assert "There is no winner yet." in page.text
    assert get_plotlyjs()[:60] not in page.scripts[0], "five megabytes that nothing needs"
    assert "No trial" in terminal({"name": "new", "trials": [{"number": 0}]})


def test_a_running_sweep_with_nothing_finished_draws_the_curves_alone(sweep_report) -> None:
    nothing_yet = {"rank": None, "mean": None, "lower": None, "intervals": None, "state": "running"}
    sweep_report |= {
        "state": "running",
        "importance": None,
        "gradient_conflict": None,
        "conclusion": [],
        "winner": None,
    }
    sweep_report["trials"] = [{**trial, **nothing_yet, "reason": ""} for trial in sweep_report["trials"]]
    page = page_of(sweep_report)
    assert list(page.figures()) == ["curves"]
    assert len(page.rows) == 9
    assert "No trial has finished yet." in page.text
    assert "There are too few finished trials to say which setting matters." in page.text


def test_a_single_trial_has_nothing_to_be_held_against(sweep_report) -> None:
    sweep_report["trials"] = sweep_report["trials"][1:2]
    page = page_of(sweep_report)
    assert "there is nothing yet to hold it against" in page.text
    assert len(page.rows) == 2
    assert {"forest", "parallel"} <= set(page.figures())


def test_a_best_that_stands_apart_is_said_to(sweep_report) -> None:
    for trial in sweep_report["trials"]:
        trial["is_indistinguishable"] = trial["number"] == 1
    assert "Trial 1 stands apart" in page_of(sweep_report).text


def test_a_score_that_is_not_finite_is_no_score(sweep_report) -> None:
    sweep_report["trials"][2]["mean"] = [float("nan"), 0.39]
    assert len(page_of(sweep_report).figures()["parallel"]["data"]) == 2


def test_a_part_of_another_kind_is_refused() -> None:
    with pytest.raises(ValidationError, match="trials"):
        sweep_page({"trials": [{"number": "first"}]})


def test_the_ranking_is_in_order_in_percent_with_marks_and_reasons(sweep_report) -> None:
    header, *rows = page_of(sweep_report).rows
    assert [row[1].split()[0] for row in rows] == ["1", "0", "2", "6", "7", "3", "4", "5"]
    assert header[2:4] == [f"{name} cc mAP (95\N{NO-BREAK SPACE}% interval)" for name in ("LQ", "HQ")]
    assert rows[0][:7] == ["1", "1 ◆", "31.2 (30.1 … 32.3)", "40.1 (38.1 … 42.1)", "30.2", "3 of 3", "finished"]
    assert rows[1][:7] == ["2 ≈", "0 ◆", "30.5 (29.4 … 31.6)", "42.0 (40.0 … 44.0)", "29.5", "3 of 3", "finished"]
    assert rows[2][0] == "3"
    assert rows[0][7:] == ["1", "0.001", "sgd", "0.8"]
    assert rows[5][:7] == ["–", "3", "–", "–", "–", "0 of 3", "stopped early"]


def test_rows_carry_their_place_in_the_race_and_reasons_are_told(sweep_report) -> None:
    page = page_of(sweep_report)
    kinds = {a["data-trial"]: a["class"] for a in page.all_of("tr") if "data-trial" in a}
    assert kinds == {"1": "best", "0": "like", "2": "", "6": "", "7": "", "3": "out", "4": "out", "5": "out"}
    for words in ("out of memory", "≈ Trial 0 cannot be told from the best, trial 1", "Greyed trials"):
        assert words in page.text


def test_a_setting_that_a_trial_lacks_has_a_place_of_its_own(sweep_report) -> None:
    page = page_of(sweep_report)
    assert page.rows[3][-1] == "–", "trial 2"
    parallel = page.figures()["parallel"]
    first_drawn = parallel["data"][0]
    assert first_drawn["y"][3] < 0, "the worst ranked trial, below the axis of its momentum"
    assert all(0 <= height <= 1 for height in first_drawn["y"][:3])
    assert "not set" in [note["text"] for note in parallel["layout"]["annotations"]]


def test_the_last_axis_is_the_objective_and_a_log_axis_is_logarithmic(sweep_report) -> None:
    worst, middle, best = page_of(sweep_report).figures()["parallel"]["data"]
    assert (worst["y"][-1], best["y"][-1]) == (0, 1)
    assert middle["y"][-1] == pytest.approx((30.52 - 25) / (31.2 - 25))
    assert best["y"][1] == pytest.approx(0.4547, abs=1e-4), "log(0.001 / 0.0004) / log(0.003 / 0.0004)"


def test_the_forest_has_means_and_ends_in_percent(sweep_report) -> None:
    like, worse = page_of(sweep_report).figures()["forest"]["data"]
    assert like["x"] == pytest.approx([31.2, 30.52])
    assert worse["error_x"]["array"] == pytest.approx([1.1])
    assert worse["y"] == ["trial 2"]


def test_the_front_is_drawn_from_one_end_to_the_other(sweep_report) -> None:
    beaten, front = page_of(sweep_report).figures()["pareto"]["data"]
    assert front["x"] == pytest.approx([40.1, 42.0])
    assert front["text"] == ["1", "0"]
    assert front["error_x"]["array"] == pytest.approx([2.0, 2.0]), "HQ"
    assert front["error_y"]["arrayminus"] == pytest.approx([1.1, 1.1]), "LQ"
    assert beaten["text"] == ["2"]


def test_every_training_has_its_curve_and_stopped_ones_are_dashed(sweep_report) -> None:
    curves = page_of(sweep_report).figures()["curves"]["data"]
    assert len(curves) == 3 * 3 + 4
    dashed = [curve["name"] for curve in curves if curve["line"]["dash"] == "dash"]
    assert dashed == ["trial 3"]
    named = [curve["name"] for curve in curves if curve["showlegend"]]
    assert sorted(named) == sorted(set(named)), "one entry a trial"


@pytest.mark.parametrize("where", ["value", "key", "title", "reason", "recipe", "label", "conclusion"])
def test_texts_of_users_stay_texts(sweep_report, where: str) -> None:
    tags = [tag for tag, _ in page_of(sweep_report).tags]
    if where == "value":
        sweep_report["trials"][1]["values"]["optimizer.name"] = HOSTILE
    elif where == "key":
        sweep_report["keys"][2] = HOSTILE
    elif where == "reason":
        sweep_report["trials"][5]["reason"] = HOSTILE
    elif where == "recipe":
        sweep_report["winner"]["recipe"] = HOSTILE
    elif where == "label":
        sweep_report["objectives"][0]["label"] = HOSTILE
    else:
        sweep_report[where] = [HOSTILE] if where == "conclusion" else HOSTILE
    page = page_of(sweep_report)
    assert [tag for tag, _ in page.tags] == tags
    assert "{{ 7 * 7 }}" in page.text.replace("\u200b", "")


def test_the_terminal_takes_no_markup_from_values(sweep_report) -> None:
    sweep_report["trials"][1]["values"]["optimizer.name"] = "[bold]adam[/bold]"
    assert "[bold]adam[/bold]" in terminal(sweep_report)


def test_nothing_comes_from_the_network(sweep_report) -> None:
    page = page_of(sweep_report)
    for tag, attributes in page.tags:
        assert "src" not in attributes, tag
        assert attributes.get("href", "#").startswith(("#", "data:")), tag
        assert "link" not in tag
    assert all("@import" not in style and "url(" not in style for style in page.styles)
    (policy,) = (a["content"] for a in page.all_of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert [script.count("plotly.js v") for script in page.scripts] == [1, 0]


def test_the_recipe_can_be_read_and_downloaded(sweep_report) -> None:
    page = page_of(sweep_report)
    (link,) = (a for a in page.all_of("a") if "download" in a)
    assert link["download"] == "step-ratio-trial-1.toml"
    assert unquote(link["href"].partition(",")[2]) == sweep_report["winner"]["recipe"]
    assert sweep_report["winner"]["recipe"] in page.text


def test_a_terminal_gets_the_same_ranking(sweep_report) -> None:
    text = terminal(sweep_report)
    for words in (
        "31.2 (30.1 … 32.3)",
        "2 ≈",
        "≈ Trial 0 cannot be told from the best, trial 1",
        "failed: out of memory",
        "3 finished, 1 stopped early, 1 diverged",
        "Two TAD steps to a CAP step are no worse than one.",
    ):
        assert words in text
