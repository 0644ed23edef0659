"""The report that the project keeps of its step-ratio sweep can be read again, and says what the README says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.places import Places
from pipelines.report import write_report
from rlq_ray.errors import UsageError
from rlq_ray.storage import locate

ROOT = Path(__file__).parents[3]
KEPT = ROOT / "docs" / "sweeps" / "step-ratio" / "report.json"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(locate(tmp_path / "store"), f"sqlite:///{tmp_path / 'none.db'}", None)


def test_becomes_a_page_without_any_store(places: Places, tmp_path: Path) -> None:
    assert write_report(str(KEPT), places, tmp_path / "page.html") == "sweep"
    text = (tmp_path / "page.html").read_text()
    assert "CAP : TAD step ratio on rendered people" in text
    assert "28.8 (28.1" in text


def test_the_readme_says_what_it_says() -> None:
    ranked = sorted((row for row in json.loads(KEPT.read_text())["trials"] if row["rank"]), key=lambda row: row["rank"])
    assert [row["values"]["ratio"] for row in ranked[:3]] == ["1 : 2", "1 : 4", "1 : 1"]
    readme = " ".join((ROOT / "README.md").read_text().split())
    for row in ranked[:2]:
        low, high = row["intervals"][0]
        assert f"{100 * row['mean'][0]:.1f}" in readme
        assert f"({100 * low:.1f} … {100 * high:.1f})" in readme


@pytest.mark.parametrize("content", [None, "{", "[1]", '{"trials": 3}'])
def test_what_is_no_report_is_refused_in_one_line(places: Places, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "report.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError, match=r"cannot read the report of a sweep in .*report\.json .*: give its") as caught:
        write_report(str(file), places, tmp_path / "page.html")
    assert "\n" not in str(caught.value)
