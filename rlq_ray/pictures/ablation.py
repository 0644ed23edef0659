"""A chart of an experiment's rows: scores on HQ and LQ queries, and what each gains. Fractions, drawn in percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rlq_ray.pictures.style import BLUE, INK, MUTED, ORANGE, RULE, SLATE, VERMILION, new_figure, quality_name, quiet

COLOUR_OF_QUALITY = {"hq": BLUE, "lq": ORANGE}
_MARK_STYLES = ((0, (2, 1.5)), (0, (1, 1.2)), (0, (4, 1.5)), (0, (4, 1.5, 1, 1.5)))

Score = tuple[float, float | None, float | None, Sequence[float]]
"""Mean over the seeds, ends of its 95 % interval, and the value of every seed."""


@dataclass(frozen=True)
class AblationRow:
    """One row: its scores by quality, and its gain (value, low, high) on LQ queries, None for the row compared with."""

    label: str
    scores: Mapping[str, Score]
    gain: tuple[float, float, float] | None


def ablation_chart(
    rows: Sequence[AblationRow],
    *,
    marks: Mapping[str, Mapping[str, float]],
    title: str,
    subtitle: str,
    compared_with: str,
) -> Figure:
    """Draw a line per row: at the left mAP of HQ and LQ queries with every seed, at the right the gain on LQ queries.

    Args:
        rows: from top to bottom.
        marks: scores by quality to be held against, by name, drawn as vertical lines.
        title: of the figure.
        subtitle: of the figure.
        compared_with: label of the row that gains are counted from.

    Raises:
        ValueError: there are no rows.
    """
    if not rows:
        raise ValueError("there are no rows to draw: train one first")
    figure = new_figure(10.0, 1.7 + 0.34 * len(rows), title, subtitle)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for place, row in enumerate(rows):
        for quality, score in row.scores.items():
            _draw_score(left, place, score, COLOUR_OF_QUALITY[quality], above=quality == "hq")
        if row.gain is not None:
            value, low, high = row.gain
            right.plot([low, high], [place, place], color=INK, linewidth=1.4)
            right.plot(value, place, marker="o", markersize=6, color=ORANGE, markeredgecolor=INK, markeredgewidth=0.6)
    for style, values in zip(cycle(_MARK_STYLES), marks.values(), strict=False):
        for quality, value in values.items():
            left.axvline(value, color=COLOUR_OF_QUALITY[quality], linewidth=1.2, linestyle=style, zorder=0)
    right.axvline(0, color=SLATE, linewidth=1)
    for axes, name in ((left, "mAP"), (right, f"LQ mAP gained on {compared_with}")):
        quiet(axes, name)
        axes.grid(axis="x", color=RULE, linewidth=0.8)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
        axes.set_ylim(len(rows) - 0.4, -0.6)
    left.set_yticks(range(len(rows)), [row.label for row in rows])
    left.tick_params(axis="y", labelcolor=INK, labelsize=9)
    handles = [
        Line2D([], [], color=colour, marker="o", label=f"{quality_name(quality)} queries, 95 % interval, each seed")
        for quality, colour in COLOUR_OF_QUALITY.items()
    ]
    handles += [
        Line2D([], [], color=MUTED, linestyle=style, label=name)
        for style, name in zip(cycle(_MARK_STYLES), marks, strict=False)
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=2, frameon=False, fontsize=9, labelcolor=INK)
    return figure


def _draw_score(axes: Axes, place: int, score: Score, colour: str, *, above: bool) -> None:
    mean, low, high, values = score
    y = place - 0.14 if above else place + 0.14
    if low is not None and high is not None:
        axes.plot([low, high], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
    axes.plot(mean, y, marker="o", markersize=6, color=colour)
    axes.plot(values, [y] * len(values), marker="|", markersize=7, linestyle="", color=VERMILION, markeredgewidth=1)
