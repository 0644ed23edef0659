"""Charts of results: bars with intervals, and CMC curves. Scores are fractions in 0…1, drawn in percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from rlq_ray.pictures.style import (
    INK,
    MUTED,
    PAPER,
    VERMILION,
    colours,
    new_figure,
    protocol_name,
    quality_line,
    quality_name,
    quiet,
)


@dataclass(frozen=True)
class Result:
    """One score of one model: its value and its 95 % interval (None where none was computed)."""

    model: str
    quality: str
    protocol: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None


def _draw_bars(axes: Axes, results: Sequence[Result], models: Sequence[str], qualities: Sequence[str]) -> None:
    colour = colours(models)
    width = 0.8 / len(models)
    for result in results:
        x = qualities.index(result.quality) + (models.index(result.model) - (len(models) - 1) / 2) * width
        axes.bar(x, result.value, width * 0.92, color=colour[result.model], linewidth=0)
        top = result.value
        if result.low is not None and result.high is not None:
            axes.plot([x, x], [result.low, result.high], color=INK, linewidth=1.1, solid_capstyle="butt")
            for end in (result.low, result.high):
                axes.plot([x - width * 0.1, x + width * 0.1], [end, end], color=INK, linewidth=1.1)
            top = max(top, result.high)
        axes.annotate(
            f"{100 * result.value:.1f}", (x, top), (0, 3), textcoords="offset points", ha="center", size=8.5, color=INK
        )


def results_chart(
    results: Sequence[Result],
    *,
    chance: Mapping[tuple[str, str], float] | None = None,
    title: str = "Results",
    subtitle: str = "",
) -> Figure:
    """Draw models side by side for HQ and LQ queries: a panel per protocol, a row per metric.

    Whiskers are 95 % intervals. `chance` by (protocol, metric) is what a random order would score.

    Raises:
        ValueError: there are no results.
    """
    if not results:
        raise ValueError("there are no results to draw: evaluate a model first")
    models, qualities, protocols, metrics = (
        list(dict.fromkeys(getattr(r, name) for r in results)) for name in ("model", "quality", "protocol", "metric")
    )
    figure = new_figure(1.0 + 3.0 * len(protocols), 1.2 + 2.7 * len(metrics), title, subtitle)
    panels = figure.subplots(len(metrics), len(protocols), squeeze=False, sharey="row")
    for (row, column), axes in np.ndenumerate(panels):
        protocol, metric = protocols[column], metrics[row]
        shown = [r for r in results if (r.protocol, r.metric) == (protocol, metric)]
        _draw_bars(axes, shown, models, qualities)
        quiet(axes, protocol_name(protocol) if row == 0 else "", percent=True)
        axes.set_xticks(range(len(qualities)), [f"{quality_name(q)} queries" for q in qualities])
        axes.set_xlim(-0.55, len(qualities) - 0.45)
        axes.set_ylim(0, 1.14 * max(r.high or r.value for r in results if r.metric == metric))  # the row shares it
        if chance and (protocol, metric) in chance:
            axes.axhline(chance[protocol, metric], color=VERMILION, linewidth=1.3, linestyle=(0, (2, 1.5)))
        if column == 0:
            axes.set_ylabel(metric.replace("top", "top-"), size=10)
            axes.yaxis.label.set_color(INK)
    handles: list[Patch | Line2D] = [Patch(color=c, label=model) for model, c in colours(models).items()]
    if any(r.low is not None for r in results):
        handles.append(Line2D([], [], color=INK, marker="|", linestyle="", markersize=9, label="95 % interval"))
    if chance:
        handles.append(Line2D([], [], color=VERMILION, linestyle=(0, (2, 1.5)), label="chance"))
    figure.legend(handles=handles, loc="outside lower left", ncols=6, frameon=False, fontsize=9, labelcolor=INK)
    return figure


def cmc_curves(
    curves: Mapping[str, Mapping[tuple[str, str], npt.ArrayLike]], *, ranks: int = 20, title: str = "CMC"
) -> Figure:
    """Draw CMC curves: a panel per protocol, a line per (model, quality); colour is the model, LQ is dashed.

    A curve `(K,)` holds at place k − 1 the share of queries with a match among their k nearest.

    Raises:
        ValueError: there is no curve.
    """
    keys = list(dict.fromkeys(key for panel in curves.values() for key in panel))
    if not keys:
        raise ValueError("there is no CMC curve to draw: evaluate a model first")
    colour = colours([model for model, _ in keys])
    figure = new_figure(
        1.0 + 3.4 * len(curves), 4.0, title, "share of queries with a match among the k nearest gallery images"
    )
    panels = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    for axes, (protocol, panel) in zip(panels, curves.items(), strict=True):
        for (model, quality), curve in panel.items():
            share = np.asarray(curve)[:ranks]
            place = np.arange(1, share.size + 1)
            axes.plot(place, share, color=colour[model], linestyle=quality_line(quality), linewidth=2)
            axes.plot(1, share[0], marker="o", markersize=5, color=colour[model], markeredgecolor=PAPER)
        quiet(axes, protocol_name(protocol), percent=True)
        axes.set_xlabel("k")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xticks([1, *range(5, ranks + 1, 5)])
    handles = [
        Line2D([], [], color=colour[m], linestyle=quality_line(q), linewidth=2, label=f"{m}, {quality_name(q)}")
        for m, q in keys
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=6, frameon=False, fontsize=9, labelcolor=MUTED)
    return figure
