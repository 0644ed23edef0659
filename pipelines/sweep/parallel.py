"""Parallel coordinates of a sweep: an axis per searched setting, then the objectives, a line per trial.

Drawn with plotly's lines instead of its `Parcoords`, which has no place for a setting that a trial lacks, does not say
which trial a line is, and shows nothing in a browser without WebGL.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from matplotlib.ticker import LogLocator, MaxNLocator
from plotly.colors import sample_colorscale

from pipelines.page.words import plain
from pipelines.sweep.markup import trial_words
from pipelines.sweep.ranking import value_text
from pipelines.sweep.values import Sweep
from rlq_ray.pictures.style import BLUE, SLATE

NOT_SET = "not set"
_NOT_SET_AT = -0.16
_WIDTH_OF_AXIS_PX = 118
_MOST_TICKS = 7
_LONGEST_TICK = 16


@dataclass(frozen=True)
class Axis:
    """Where values lie between 0, the bottom, and 1, and which of them are written beside the axis."""

    name: str
    heights: Sequence[float]
    """Of every trial, in their order; `_NOT_SET_AT` where it lacks the setting."""
    ticks: Sequence[tuple[str, float]]


def parallel_figure(sweep: Sweep) -> go.Figure:
    """Draw the ranked trials, of which there is one at least, the best on top."""
    axes = [_setting(key, sweep) for key in sweep.keys]
    axes += [_objective(place, sweep) for place in reversed(range(len(sweep.objectives)))]
    figure = go.Figure(
        layout={
            "height": 440,
            "margin": {"t": 70, "l": 66, "r": 46, "b": 20},
            "meta": {"least_width_px": _WIDTH_OF_AXIS_PX * len(axes)},
            "showlegend": False,
        }
    )
    for place, trial in reversed([*enumerate(sweep.ranked)]):
        figure.add_trace(_line([axis.heights[place] for axis in axes], trial_words(trial, sweep)))
    for place, axis in enumerate(axes):
        _draw_axis(figure, place, axis)
    names = [_two_lines(axis.name) for axis in axes]
    figure.update_xaxes(
        side="top", tickvals=[*range(len(axes))], ticktext=names, showgrid=False, zeroline=False, fixedrange=True
    )
    figure.update_yaxes(visible=False, range=[_NOT_SET_AT - 0.06, 1.06], fixedrange=True)
    return figure


def _setting(key: str, sweep: Sweep) -> Axis:
    values = [trial.values.get(key) for trial in sweep.ranked]
    known = [value for value in values if value is not None]
    if known and all(_is_number(value) for value in known):
        is_log = key in sweep.log_keys and all(value > 0 for value in known)
        return _numbers(key, values, is_log=is_log)
    names = sorted({value_text(value) for value in known})
    steps = {name: (place + 0.5) / len(names) for place, name in enumerate(names)}
    heights = [_NOT_SET_AT if value is None else steps[value_text(value)] for value in values]
    return _with_not_set(Axis(key, heights, [(_short(name), height) for name, height in steps.items()]))


def _objective(place: int, sweep: Sweep) -> Axis:
    scores = [100 * trial.mean[place] if place < len(trial.mean) else None for trial in sweep.ranked]
    return _numbers(f"{sweep.objectives[place].name}, %", scores)


def _numbers(name: str, values: Sequence[Any], *, is_log: bool = False) -> Axis:
    scale: Callable[[float], float] = math.log10 if is_log else float
    known = sorted({value for value in values if value is not None})
    low, high = (scale(known[0]), scale(known[-1])) if known else (0.0, 1.0)

    def height(value: float | None) -> float:
        if value is None:
            return _NOT_SET_AT
        return (scale(value) - low) / (high - low) if high > low else 0.5

    marks = known
    if len(known) > _MOST_TICKS:
        locator = LogLocator(subs=(1, 2, 5)) if is_log else MaxNLocator(_MOST_TICKS - 1, steps=(1, 2, 5, 10))
        marks = [float(mark) for mark in locator.tick_values(known[0], known[-1]) if known[0] <= mark <= known[-1]]
    heights = [height(value) for value in values]
    return _with_not_set(Axis(name, heights, [(f"{mark:.4g}", height(mark)) for mark in marks]))


def _with_not_set(axis: Axis) -> Axis:
    if _NOT_SET_AT not in axis.heights:
        return axis
    return Axis(axis.name, axis.heights, [(NOT_SET, _NOT_SET_AT), *axis.ticks])


def _line(heights: Sequence[float], words: str) -> go.Scatter:
    score = heights[-1]
    (colour,) = sample_colorscale([[0, SLATE], [1, BLUE]], [score])
    return go.Scatter(
        x=[*range(len(heights))],
        y=heights,
        mode="lines+markers",
        line={"color": colour, "width": 1.2 + 1.8 * score, "shape": "spline", "smoothing": 0.4},
        marker={"size": 5},
        opacity=0.35 + 0.65 * score,
        text=[words] * len(heights),
        hoverinfo="text",
    )


def _draw_axis(figure: go.Figure, place: int, axis: Axis) -> None:
    figure.add_shape(type="line", x0=place, x1=place, y0=0, y1=1, line={"color": SLATE, "width": 1}, layer="below")
    for text, height in axis.ticks:
        figure.add_annotation(x=place, y=height, text=plain(text), showarrow=False, xanchor="right", xshift=-7)


def _two_lines(name: str) -> str:
    *rooms, last = name.split(".")
    lines = [".".join(rooms) + "."] * bool(rooms) + [last]
    return "<br>".join(plain(_short(line)) for line in lines)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_TICK else text[: _LONGEST_TICK - 1] + "…"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
