"""Small charts side by side in one figure; each has a title of its own, and all share the names of the lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pipelines.page.words import plain
from rlq_ray.pictures.style import SLATE

ROW_PX = 200
LEAST_WIDTH_PX = 190
"""Of a panel; a narrower window scrolls."""
SPACING = 0.06
"""Between panels, as a share of the whole width: room for the numbers beside an axis."""
HEAD_PX, LEGEND_PX, FOOT_PX = 50, 20, 44
"""Around the panels; the buttons lie in the head."""
MOST_TICKS = 6


@dataclass(frozen=True)
class Panel:
    """Lines below a title; `level` is a value that they are held against, `from_zero` shows zero, too."""

    title: str
    lines: Sequence[go.Scatter]
    level: float | None = None
    is_log: bool = False
    from_zero: bool = False


def panels(
    drawn: Sequence[Panel], *, columns: int, x_title: str, mark: float | None = None, height_px: int = ROW_PX
) -> go.Figure:
    """Draw panels in rows, of which there is one at least; `mark` is marked in each of them."""
    columns = min(columns, len(drawn))
    rows = math.ceil(len(drawn) / columns)
    has_legend = any(len({line.name for line in panel.lines if line.name}) > 1 for panel in drawn)
    head_px = HEAD_PX + (LEGEND_PX if has_legend else 0)
    inner_px = rows * height_px
    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=[plain(panel.title) for panel in drawn],
        horizontal_spacing=SPACING if columns > 1 else 0,
        vertical_spacing=70 / inner_px if rows > 1 else 0,
    )
    named: set[str] = set()
    for place, panel in enumerate(drawn):
        where = {"row": place // columns + 1, "col": place % columns + 1}
        for line in panel.lines:
            line.legendgroup = line.name
            line.showlegend = line.name is not None and line.name not in named
            named.add(line.name)
            figure.add_trace(line, **where)
        if panel.level is not None:
            figure.add_hline(panel.level, line={"color": SLATE, "width": 1, "dash": "dot"}, **where)
        if mark is not None:
            figure.add_vline(mark, line={"color": SLATE, "width": 1, "dash": "dot"}, **where)
        figure.update_xaxes(
            dtick=_whole_steps(panel), title={"text": x_title, "font": {"size": 11}, "standoff": 4}, **where
        )
        figure.update_yaxes(
            type="log" if panel.is_log else "linear",
            rangemode="tozero" if panel.from_zero else "normal",
            exponentformat="e",
            **where,
        )
    figure.update_annotations(font={"size": 13}, xanchor="center", bgcolor="rgba(0,0,0,0)")
    figure.update_layout(
        height=head_px + inner_px + FOOT_PX,
        margin={"t": head_px, "b": FOOT_PX, "l": 50, "r": 16},
        meta={"least_width_px": LEAST_WIDTH_PX * columns},
        showlegend=has_legend,
    )
    return figure


def _whole_steps(panel: Panel) -> int | None:
    """Keep plotly from writing fractions between a few whole numbers."""
    ends = [x for line in panel.lines for x in (line.x[0], line.x[-1]) if not isinstance(x, str)]
    return 1 if ends and max(ends) - min(ends) <= MOST_TICKS else None
