"""Tables and figure show what the report says."""

from __future__ import annotations

import pytest

from pipelines.experiment_report import Report, build_report
from pipelines.experiment_view import as_markdown, as_tables, experiment_figure, grids


@pytest.fixture(scope="module")
def report(made_up) -> Report:
    baselines = {"person colours": made_up.outcomes["base"][0]}
    return build_report(made_up.file, made_up.outcomes, baselines, made_up.config)


def test_markdown_has_every_row_in_every_table(report: Report) -> None:
    text = as_markdown(report)
    assert text.startswith("# Made up\n")
    assert "protocol cc, 10 test identities, 120 queries, 3 seeds" in text
    for grid in grids(report):
        assert f"**{grid.title}**" in text
        for row in grid.rows:
            assert len(row) == len(grid.header)
            assert f"| {' | '.join(row)} |" in text
    assert text.count("| RLQ |") == 4
    assert text.count("| person colours |") == 2, "they have neither epochs nor diagnostics"


def test_numbers_are_in_percent_with_deviation_and_interval(report: Report) -> None:
    scores, gain = report["rows"][1]["scores"], report["rows"][1]["gain"]["lq"]["mAP"]
    row = next(row for row in grids(report)[0].rows if row[0] == "RLQ")
    hq = scores["hq"]["cc"]["mAP"]
    assert row[3] == f"{100 * hq['mean']:.1f} ± {100 * hq['deviation']:.1f}"
    assert row[7] == f"{100 * gain['delta']:+.1f} ({100 * gain['low']:+.1f} … {100 * gain['high']:+.1f})"
    assert grids(report)[0].rows[0][7] == "–"


def test_every_row_says_how_many_seeds_it_has_and_the_caption_does_not_overstate(made_up) -> None:
    fewer = {"base": made_up.outcomes["base"], "rlq": made_up.outcomes["rlq"][:1]}
    report = build_report(made_up.file, fewer, {}, made_up.config)
    assert [row[1] for row in grids(report)[0].rows] == ["3", "1"]
    assert "1 or 3 seeds" in as_markdown(report)


def test_what_is_missing_leaves_its_table_out(made_up) -> None:
    bare = {"base": [o.__class__(**{**vars(o), "curves": {}}) for o in made_up.outcomes["base"]]}
    titles = [grid.title for grid in grids(build_report(made_up.file, bare, {}, made_up.config))]
    assert len(titles) == 2, "scores and artefacts"


def test_a_terminal_gets_the_same_tables(report: Report) -> None:
    assert [len(table.columns) for table in as_tables(report)] == [len(grid.header) for grid in grids(report)]


def test_the_figure_draws_every_row_and_every_gain(report: Report) -> None:
    figure = experiment_figure(report)
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["base model", "RLQ"]
    gain = report["rows"][1]["gain"]["lq"]["mAP"]
    ends = [line.get_xdata() for line in right.lines if len(line.get_xdata()) == 2]
    assert any(tuple(xs) == pytest.approx((gain["low"], gain["high"])) for xs in ends)
