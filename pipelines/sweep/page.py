"""A sweep's report as one HTML page that opens from disk and asks nothing of the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs

from pipelines.sweep.charts import Chart, sweep_charts
from pipelines.sweep.ranking import explanations, facts, ranking
from pipelines.sweep.values import read_sweep

PAGES = Path(__file__).parent / "pages"
_TEMPLATES = Environment(
    loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def sweep_page(report: Mapping[str, Any]) -> str:
    """Write the page of a sweep, however far it has come: conclusion, ranking, charts, and the winner's recipe.

    Args:
        report: plain values; every part may be missing or null.

    Raises:
        pydantic.ValidationError: a part is there, but not of its kind.
    """
    sweep = read_sweep(report)
    charts = sweep_charts(sweep)
    return _TEMPLATES.get_template("sweep.html").render(
        sweep=sweep,
        facts=facts(sweep),
        ranking=ranking(sweep),
        explanations=explanations(sweep),
        charts=charts,
        style=_file("sweep.css"),
        script=_file("sweep.js"),
        plotly=Markup(get_plotlyjs()) if any(chart.figure for chart in charts) else "",
        figures=Markup(_figures(charts)),
    )


def _figures(charts: list[Chart]) -> str:
    """Write figures and colour schemes as JSON that holds no tag, so that it can stand in a script."""
    drawn = {chart.key: chart.figure.to_plotly_json() for chart in charts if chart.figure is not None}
    for figure in drawn.values():
        figure["layout"].pop("template", None)
    schemes = {
        "light": _scheme(paper="#fcfcfa", ink="#1c2733", muted="#5a6673", rule="#e3e7ea"),
        "dark": _scheme(paper="#15191e", ink="#e4e8ec", muted="#9aa7b4", rule="#2b323a"),
    }
    return to_json_plotly({"figures": drawn, "schemes": schemes})


def _scheme(*, paper: str, ink: str, muted: str, rule: str) -> go.layout.Template:
    axis = {
        "gridcolor": rule,
        "linecolor": rule,
        "zeroline": False,
        "automargin": True,
        "ticklabelstandoff": 6,
        "title": {"font": {"color": muted, "size": 13}, "standoff": 12},
    }
    return go.layout.Template(
        layout={
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": _FONT, "size": 13, "color": ink},
            "margin": {"t": 40, "r": 16, "b": 40, "l": 16},
            "xaxis": axis,
            "yaxis": axis,
            "hovermode": "closest",
            "hoverlabel": {"bgcolor": paper, "bordercolor": muted, "font": {"color": ink}, "align": "left"},
            "legend": {"orientation": "h", "yref": "container", "y": 1, "yanchor": "top", "x": 0},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": muted, "activecolor": ink},
            "annotationdefaults": {"bgcolor": paper, "opacity": 0.9, "font": {"size": 12, "color": muted}},
        }
    )


def _file(name: str) -> Markup:
    return Markup((PAGES / name).read_text(encoding="utf-8"))
