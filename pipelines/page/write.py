"""Writes a page from its template: one HTML file with style, script, figures and plotly inside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs

from pipelines.page.chart import Chart

FRAME = Path(__file__).parent / "pages"
"""Folder of what all pages share."""
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def write_page(template: Path, charts: Sequence[Chart], **values: Any) -> str:
    """Write a page.

    Args:
        template: that extends `page.html`.
        charts: in the order of reading.
        values: what the template shows; texts of users are no markup in it.
    """
    return (
        _environment(template.parent)
        .get_template(template.name)
        .render(
            **values,
            charts=charts,
            style=_file("page.css"),
            script=_file("page.js"),
            plotly=Markup(get_plotlyjs()) if any(chart.figure for chart in charts) else "",
            figures=Markup(_figures(charts)),
        )
    )


def _environment(folder: Path) -> Environment:
    return Environment(
        loader=FileSystemLoader([folder, FRAME]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _figures(charts: Sequence[Chart]) -> str:
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
    return Markup((FRAME / name).read_text(encoding="utf-8"))
