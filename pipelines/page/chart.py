"""A chart of a page, as plotly's figure with its words; colours of paper and ink are left to the page's scheme."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go


@dataclass(frozen=True)
class Chart:
    """A chart with its words; without figure there is nothing to draw, and `instead` says why."""

    key: str
    title: str
    note: str
    instead: str
    figure: go.Figure | None

    @property
    def least_width_px(self) -> int:
        """Below this the chart is scrolled in its own box."""
        return 0 if self.figure is None else int((self.figure.layout.meta or {}).get("least_width_px", 0))
