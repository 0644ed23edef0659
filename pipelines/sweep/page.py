"""A sweep's report as one HTML page that opens from disk and asks nothing of the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.page.write import write_page
from pipelines.sweep.charts import sweep_charts
from pipelines.sweep.ranking import explanations, facts, ranking
from pipelines.sweep.values import read_sweep

TEMPLATE = Path(__file__).parent / "pages" / "sweep.html"


def sweep_page(report: Mapping[str, Any]) -> str:
    """Write the page of a sweep, however far it has come: conclusion, ranking, charts, and the winner's recipe.

    Args:
        report: plain values; every part may be missing or null.

    Raises:
        pydantic.ValidationError: a part is there, but not of its kind.
    """
    sweep = read_sweep(report)
    return write_page(
        TEMPLATE,
        sweep_charts(sweep),
        sweep=sweep,
        facts=facts(sweep),
        ranking=ranking(sweep),
        explanations=explanations(sweep),
    )
