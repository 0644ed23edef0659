"""The printed results of the people experiment are those of its report, and the report is that of the shipped file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.experiment_file import read_experiment_file
from pipelines.experiment_view import as_markdown, grids

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "experiments" / "people"


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "report.json").read_text())
    return found


def test_the_report_is_of_the_settings_rows_and_seeds_of_the_shipped_file(report: dict[str, Any]) -> None:
    file = read_experiment_file("people")
    assert report["settings"] == file.settings
    assert report["teacher"] == {"recipe": file.teacher, "seed": file.teacher_seed, "settings": file.teacher_settings}
    shipped = [(row.key, row.recipe, row.settings, row.label) for row in file.rows]
    assert [tuple(row[key] for key in ("name", "recipe", "settings", "label")) for row in report["rows"]] == shipped
    assert all(tuple(row["seeds"]) == file.seeds for row in report["rows"])
    assert report["test"]["identities"] == 150


def test_the_tables_are_made_from_the_report(report: dict[str, Any]) -> None:
    assert (FOLDER / "tables.md").read_text() == as_markdown(report)


def test_the_readme_prints_the_scores_and_answers_of_the_report(report: dict[str, Any]) -> None:
    readme = (ROOT / "README.md").read_text()
    scores, *_, answers = grids(report)
    for row in (*scores.rows, *answers.rows):
        assert f"| {' | '.join(row)} |" in readme
