"""The charts of a sweep, as plotly's figures; colours of paper and ink are left to the page's scheme."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import plotly.graph_objects as go

from pipelines.page.chart import Chart
from pipelines.page.words import percent, plain, share
from pipelines.sweep.markup import axis_title, trial_words
from pipelines.sweep.parallel import parallel_figure
from pipelines.sweep.values import Sweep, Training, Trial
from rlq_ray.pictures.style import BLUE, GREEN, SERIES, SLATE

COLOURED = SERIES[1:]
"""Colours of single trials; the first of the series is for all that share one."""


def sweep_charts(sweep: Sweep) -> list[Chart]:
    """Make every chart that this sweep can have, in the order of reading."""
    makers: list[Callable[[Sweep], Chart]] = [_forest, _parallel, _importance, _curves, _conflict]
    if len(sweep.objectives) > 1:
        makers.insert(1, _pareto)
    return [make(sweep) for make in makers]


def _forest(sweep: Sweep) -> Chart:
    ranked = sweep.ranked
    figure = None
    if ranked:
        figure = go.Figure(layout={"height": 100 + 26 * len(ranked), "margin": {"t": 46}})
        for is_like, name, colour in ((True, "the best, or like it", BLUE), (False, "worse than the best", SLATE)):
            own = [trial for trial in ranked if (trial.is_indistinguishable or trial is ranked[0]) == is_like]
            if own:
                figure.add_trace(_means(own, sweep, name, colour))
        names = [f"trial {trial.number}" for trial in ranked]
        figure.update_yaxes(categoryorder="array", categoryarray=names[::-1], fixedrange=True, showgrid=False)
        figure.update_xaxes(title=axis_title(sweep, 0), fixedrange=True)
        figure.add_vline(100 * ranked[0].mean[0], line={"color": BLUE, "width": 1, "dash": "dot"})
    return Chart(
        "forest",
        "Means and intervals",
        f"Means over the seeds with their {share(sweep.confidence)} intervals, in the order of the ranks; "
        "the dotted line is the mean of the first.",
        "No trial has a score yet.",
        figure,
    )


def _means(own: Sequence[Trial], sweep: Sweep, name: str, colour: str) -> go.Scatter:
    return go.Scatter(
        x=[100 * trial.mean[0] for trial in own],
        y=[f"trial {trial.number}" for trial in own],
        error_x=_whiskers(own, 0, thickness=2),
        mode="markers",
        marker={"color": colour, "size": 9},
        name=name,
        text=[trial_words(trial, sweep) for trial in own],
        hoverinfo="text",
    )


def _whiskers(own: Sequence[Trial], place: int, *, thickness: float) -> dict[str, Any]:
    """Draw the intervals of an objective as plotly's error bars, from the means."""
    ends = [(trial.mean[place], *(trial.interval(place) or 2 * (trial.mean[place],))) for trial in own]
    return {
        "type": "data",
        "symmetric": False,
        "array": [100 * (high - mean) for mean, _, high in ends],
        "arrayminus": [100 * (mean - low) for mean, low, _ in ends],
        "thickness": thickness,
        "width": 0,
    }


def _pareto(sweep: Sweep) -> Chart:
    scored = [trial for trial in sweep.trials if len(trial.mean) > 1]
    figure = None
    if scored:
        figure = go.Figure(layout={"height": 430})
        front = sorted((trial for trial in scored if trial.is_pareto), key=lambda trial: trial.mean[1])
        rest = [trial for trial in scored if not trial.is_pareto]
        for own, name, colour, mode in (
            (rest, "beaten", SLATE, "markers"),
            (front, "Pareto front", BLUE, "markers+lines+text"),
        ):
            if own:
                figure.add_trace(_scores_of_both(own, sweep, name, colour, mode))
        figure.update_xaxes(title=axis_title(sweep, 1))
        figure.update_yaxes(title=axis_title(sweep, 0))
    return Chart(
        "pareto",
        "Both objectives",
        "Up and to the right is better. A trial on the front is beaten in both objectives by no other; "
        f"numbers are those of the trials, thin lines the {share(sweep.confidence)} intervals of their means.",
        "No trial has scores in both objectives yet.",
        figure,
    )


def _scores_of_both(own: Sequence[Trial], sweep: Sweep, name: str, colour: str, mode: str) -> go.Scatter:
    return go.Scatter(
        x=[100 * trial.mean[1] for trial in own],
        y=[100 * trial.mean[0] for trial in own],
        error_x=_whiskers(own, 1, thickness=0.8),
        error_y=_whiskers(own, 0, thickness=0.8),
        mode=mode,
        line={"color": colour, "width": 1.5, "shape": "vh"},
        marker={"color": colour, "size": 10},
        name=name,
        text=[str(trial.number) for trial in own],
        textposition="top right",
        hovertext=[trial_words(trial, sweep) for trial in own],
        hoverinfo="text",
    )


def _parallel(sweep: Sweep) -> Chart:
    return Chart(
        "parallel",
        "Settings and score",
        f"A line is a ranked trial; the higher its {sweep.objectives[0].name}, the bluer and thicker it is.",
        "No trial has a score yet." if sweep.keys else "No setting was searched.",
        parallel_figure(sweep) if sweep.ranked and sweep.keys else None,
    )


def _importance(sweep: Sweep) -> Chart:
    figure = None
    if sweep.importance:
        shares = sorted(sweep.importance.items(), key=lambda item: item[1])
        figure = go.Figure(layout={"height": 80 + 34 * len(shares), "bargap": 0.35})
        figure.add_bar(
            x=[100 * share_ for _, share_ in shares],
            y=[plain(key) for key, _ in shares],
            orientation="h",
            marker={"color": BLUE},
            text=[f"{100 * share_:.0f} %" for _, share_ in shares],
            textposition="auto",
            hoverinfo="skip",
        )
        figure.update_xaxes(fixedrange=True, rangemode="tozero", ticksuffix=" %")
        figure.update_yaxes(fixedrange=True, showgrid=False)
    return Chart(
        "importance",
        "What mattered",
        f"Share of the differences in {sweep.objectives[0].name} between trials that goes with each setting, as "
        "estimated from the trials there are.",
        "There are too few finished trials to say which setting matters.",
        figure,
    )


def _curves(sweep: Sweep) -> Chart:
    figure = go.Figure(layout={"height": 480})
    drawn = [trial for trial in sweep.in_order if any(training.curve for training in trial.trainings)]
    for place, trial in reversed([*enumerate(drawn)]):
        for training in trial.trainings:
            if training.curve:
                figure.add_trace(_curve(trial, training, sweep, place))
    named: set[str] = set()
    for trace in reversed(figure.data):
        trace.showlegend = trace.legendgroup not in named
        named.add(trace.legendgroup)
    figure.update_layout(legend={"traceorder": "reversed"})
    figure.update_xaxes(title="CAP epoch", rangemode="tozero")
    figure.update_yaxes(title=axis_title(sweep, 0))
    return Chart(
        "curves",
        "Learning curves",
        f"A line is a training, on validation identities; dashed ones were stopped early. The first {len(COLOURED)} "
        "trials of the ranking have colours of their own; the pointer names every line.",
        "No training has been evaluated yet.",
        figure if drawn else None,
    )


def _curve(trial: Trial, training: Training, sweep: Sweep, place: int) -> go.Scatter:
    is_coloured = place < len(COLOURED)
    stopped = "stopped early" in (trial.state, training.state)
    label = sweep.objectives[0].name
    return go.Scatter(
        x=[epoch for epoch, _ in training.curve],
        y=[100 * score for _, score in training.curve],
        mode="lines+markers",
        line={"color": COLOURED[place] if is_coloured else SLATE, "dash": "dash" if stopped else "solid", "width": 1.8},
        marker={"size": 4},
        opacity=1.0 if is_coloured else 0.55,
        name=f"trial {trial.number}" if is_coloured else "other trials",
        legendgroup=f"trial {trial.number}" if is_coloured else "other trials",
        text=[
            f"<b>trial {trial.number}, seed {training.seed}</b>, {plain(training.state)}<br>"
            f"{plain(label)} {percent(score)} after CAP epoch {epoch:g}"
            for epoch, score in training.curve
        ],
        hoverinfo="text",
    )


def _conflict(sweep: Sweep) -> Chart:
    by_number = {trial.number: trial for trial in sweep.trials if trial.mean}
    known = [(by_number[number], cosine) for number, cosine in sweep.gradient_conflict if number in by_number]
    figure = None
    if known:
        figure = go.Figure(layout={"height": 380})
        figure.add_scatter(
            x=[cosine for _, cosine in known],
            y=[100 * trial.mean[0] for trial, _ in known],
            mode="markers+text",
            marker={"color": GREEN, "size": 10},
            text=[str(trial.number) for trial, _ in known],
            textposition="top right",
            hovertext=[f"{trial_words(trial, sweep)}<br>cosine {cosine:.3f}" for trial, cosine in known],
            hoverinfo="text",
            showlegend=False,
        )
        figure.add_vline(0, line={"color": SLATE, "width": 1, "dash": "dot"})
        figure.update_xaxes(title="mean cosine between the gradients of CAP and TAD steps")
        figure.update_yaxes(title=axis_title(sweep, 0))
    return Chart(
        "conflict",
        "Do CAP and TAD pull together?",
        "Left of zero the steps work against each other, right of it they help each other; "
        "numbers are those of the trials.",
        "No trial with a score has recorded the angle between the gradients of CAP and TAD steps.",
        figure,
    )
