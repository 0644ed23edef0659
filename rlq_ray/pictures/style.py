"""The look that all pictures share: one palette, one family of fonts, quiet axes.

Colours are Okabe and Ito's, which the colour-blind can tell apart; right and wrong are also marked by shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import PercentFormatter
from PIL import ImageFont

PAPER = "#fcfcfa"
PANEL = "#f1f3f4"
INK = "#1c2733"
MUTED = "#66727f"
RULE = "#dde2e6"

BLUE = "#0072b2"
SKY = "#56b4e9"
GREEN = "#009e73"
ORANGE = "#e69f00"
VERMILION = "#d55e00"
PURPLE = "#cc79a7"
SLATE = "#8593a1"

RIGHT = BLUE
WRONG = VERMILION

SERIES = (SLATE, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION)
"""Colours of models, in the order they are named: the first is the quiet one that others are held against."""

LineStyle = Literal["-", "--", ":"]
LINE_OF_QUALITY: dict[str, LineStyle] = {"hq": "-", "lq": "--"}
NAME_OF_QUALITY = {"hq": "HQ", "lq": "LQ"}
NAME_OF_PROTOCOL = {"general": "general", "cc": "clothes-changing", "sc": "same clothes"}

DPI = 150
_LEAST_WIDTH_IN = 6.4


@cache
def font(size_px: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Load DejaVu Sans, which comes with matplotlib, for drawing on images."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size_px)


def quality_name(quality: str) -> str:
    """Name a query quality for the eye; an unknown one keeps its name."""
    return NAME_OF_QUALITY.get(quality, quality)


def quality_line(quality: str) -> LineStyle:
    """Give the line style of a query quality: HQ solid, LQ dashed, others dotted."""
    return LINE_OF_QUALITY.get(quality, ":")


def protocol_name(protocol: str) -> str:
    """Name a protocol for the eye; an unknown one keeps its name."""
    return NAME_OF_PROTOCOL.get(protocol, protocol)


def colours(names: Sequence[str]) -> dict[str, str]:
    """Give every name its colour, by its place."""
    return {name: SERIES[place % len(SERIES)] for place, name in enumerate(dict.fromkeys(names))}


def new_figure(width_in: float, height_in: float, title: str, subtitle: str = "") -> Figure:
    """Begin a chart with its title at the top left, wider if the title or a legend needs it.

    No global state of matplotlib is touched.
    """
    words_pt = max(font(13, bold=True).getlength(title), font(9).getlength(subtitle))
    width_in = max(width_in, _LEAST_WIDTH_IN, words_pt / 72 + 0.4)
    head_in = 0.62 if subtitle else 0.42
    layout = ConstrainedLayoutEngine(rect=(0.01, 0.01, 0.98, 0.99 - head_in / height_in), wspace=0.05, hspace=0.06)
    figure = Figure(figsize=(width_in, height_in), dpi=DPI, facecolor=PAPER, layout=layout)
    FigureCanvasAgg(figure)
    figure.text(0.16 / width_in, 1 - 0.13 / height_in, title, ha="left", va="top", size=13, weight="bold", color=INK)
    if subtitle:
        figure.text(0.16 / width_in, 1 - 0.39 / height_in, subtitle, ha="left", va="top", size=9, color=MUTED)
    return figure


def quiet(axes: Axes, title: str = "", *, percent: bool = False) -> None:
    """Give a panel its house look: title at the left, light horizontal grid, no box."""
    axes.set_facecolor(PAPER)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(SLATE)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=8, length=0)
    axes.xaxis.label.set(color=MUTED, size=8)
    axes.yaxis.label.set(color=MUTED, size=8)
    if title:
        axes.set_title(title, loc="left", size=9.5, color=INK, weight="bold")
    if percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
