"""Charts of a training: its losses over steps and its scores over epochs.

Knows arrays only. Scores are fractions in 0…1 and are drawn in percent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from rlq_ray.pictures.style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    SLATE,
    new_figure,
    protocol_name,
    quality_line,
    quality_name,
    quiet,
)

Series = tuple[npt.ArrayLike, npt.ArrayLike]
"""Where (steps or epochs) and how much, of equal length."""

_PHASE_COLOURS = (BLUE, GREEN, PURPLE, ORANGE)
_PANELS_PER_ROW = 4
_RATE = "learning rate"


def smoothed(values: npt.ArrayLike, share: float = 0.06) -> npt.NDArray[np.float64]:
    """Average over a centred window of `share` of the values, cut off at the ends; gaps (NaN) stay gaps."""
    series = np.asarray(values, dtype=np.float64)
    half = round(share * series.size / 2)
    known = np.isfinite(series)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, series, 0))])
    count = np.concatenate([[0], np.cumsum(known)])
    place = np.arange(series.size)
    low, high = np.maximum(place - half, 0), np.minimum(place + half + 1, series.size)
    return np.where(known, total[high] - total[low], np.nan) / np.maximum(count[high] - count[low], 1)


def _loss_panel(axes: Axes, term: str, series: Series, colour: str) -> None:
    steps, values = np.asarray(series[0]), np.asarray(series[1], dtype=np.float64)
    strong = smoothed(values)
    axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
    axes.plot(steps, strong, color=colour, linewidth=1.8)
    quiet(axes, term.replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    finite = strong[np.isfinite(strong)]
    if finite.size:
        axes.set_title(f"{finite[-1]:.3g}", loc="right", size=8, color=MUTED)


def _rate_panel(axes: Axes, series: Series) -> None:
    axes.plot(*series, color=SLATE, linewidth=1.8)
    quiet(axes, _RATE)
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def loss_curves(
    history: Mapping[str, Mapping[str, Series]], *, learning_rate: Series | None = None, title: str = "Losses"
) -> Figure:
    """Draw every loss term of every phase over the optimiser steps, in small panels, and the learning rate last.

    The faint line is each value, the strong one smoothed; the number at the right is the latest.

    Raises:
        ValueError: there is no loss term.
    """
    sections = [(phase, dict(terms)) for phase, terms in history.items() if terms]
    if not sections:
        raise ValueError("the history holds no loss term: train at least one step")
    if learning_rate is not None:
        sections.append((_RATE, {_RATE: learning_rate}))
    rows = [math.ceil(len(terms) / _PANELS_PER_ROW) for _, terms in sections]
    subtitle = "per optimiser step; the strong line is smoothed, the number is where it ends"
    figure = new_figure(11, 0.6 + 1.75 * sum(rows) + 0.3 * len(rows), title, subtitle)
    panels = figure.subplots(sum(rows), _PANELS_PER_ROW, squeeze=False)
    for place, (phase, terms) in enumerate(sections):
        part = panels[sum(rows[:place]) : sum(rows[: place + 1])].ravel()
        for axes, (term, series) in zip(part, terms.items(), strict=False):
            if term == _RATE:
                _rate_panel(axes, series)
            else:
                _loss_panel(axes, term, series, _PHASE_COLOURS[place % len(_PHASE_COLOURS)])
        for axes in part[len(terms) :]:
            axes.axis("off")
        if phase != _RATE:
            heading = {"xytext": (0, 24), "textcoords": "offset points", "size": 11, "weight": "bold", "color": INK}
            part[0].annotate(phase, (0, 1), xycoords="axes fraction", **heading)
    return figure


def evaluation_curves(
    history: Mapping[tuple[str, str, str], Series], *, best_epoch: float | None = None, title: str = "Validation"
) -> Figure:
    """Draw scores over epochs: keys are (quality, protocol, metric), one panel per metric and protocol.

    HQ is solid, LQ dashed; `best_epoch` is marked.

    Raises:
        ValueError: there is no score.
    """
    if not history:
        raise ValueError("the history holds no score: evaluate at least once")
    metrics = list(dict.fromkeys(metric for _, _, metric in history))
    protocols = list(dict.fromkeys(protocol for _, protocol, _ in history))
    figure = new_figure(1.2 + 3.2 * len(protocols), 1 + 2.4 * len(metrics), title, "on the validation identities")
    panels = figure.subplots(len(metrics), len(protocols), squeeze=False, sharex=True, sharey="row")
    for (quality, protocol, metric), (epochs, values) in history.items():
        axes = panels[metrics.index(metric), protocols.index(protocol)]
        colour = BLUE if quality == "hq" else ORANGE
        axes.plot(epochs, values, color=colour, linestyle=quality_line(quality), marker="o", markersize=3.5)
    for (row, column), axes in np.ndenumerate(panels):
        quiet(axes, protocol_name(protocols[column]) if row == 0 else "", percent=True)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if best_epoch is not None:
            axes.axvline(best_epoch, color=SLATE, linewidth=1, linestyle=":")
        if column == 0:
            axes.set_ylabel(metrics[row].replace("top", "top-"))
        if row == len(metrics) - 1:
            axes.set_xlabel("epoch")
    qualities: Sequence[str] = list(dict.fromkeys(quality for quality, _, _ in history))
    handles = [
        Line2D(
            [], [], color=BLUE if q == "hq" else ORANGE, linestyle=quality_line(q), label=f"{quality_name(q)} queries"
        )
        for q in qualities
    ]
    if best_epoch is not None:
        handles.append(Line2D([], [], color=SLATE, linestyle=":", label=f"best checkpoint, epoch {best_epoch:g}"))
    figure.legend(handles=handles, loc="outside lower left", ncols=4, frameon=False, fontsize=8.5, labelcolor=INK)
    return figure
