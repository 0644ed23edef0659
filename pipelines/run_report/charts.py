"""The charts of a run, as plotly's figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import plotly.graph_objects as go

from pipelines.page.chart import Chart
from pipelines.run_report.panels import Panel, panels
from pipelines.run_report.values import RunReport, Series
from rlq_ray.pictures.style import BLUE, GREEN, ORANGE, PURPLE, SLATE, protocol_name, quality_name
from rlq_ray.pictures.training import smoothed

PHASES = {
    "cap": ("CAP", "steps on the labelled target", BLUE),
    "tad": ("TAD", "steps on the external set, towards the teacher's features", GREEN),
    "joint": ("joint", "steps on the external set's own labels", PURPLE),
}
MOST_POINTS = 400
"""Of a line; more are averaged, or a long training's page would have many MB."""
METRICS = {"mAP": "mAP", "top1": "top-1"}
SEVERITIES = ("mild", "medium", "severe")
OF_ARTEFACT = {"pixelation": BLUE, "defocus": ORANGE, "motion": GREEN}
CHANCE = "_chance"


def run_charts(run: RunReport) -> list[Chart]:
    """Make every chart that there is something to draw of, and those that every run should have."""
    charts = [_scores(run), *_losses(run), _conflict(run)]
    return charts + [chart for chart in (_severities(run), _diagnostics(run), _course(run)) if chart.figure]


def _scores(run: RunReport) -> Chart:
    qualities = list(dict.fromkeys(quality for quality, _, _ in run.scores if quality in ("hq", "lq")))
    protocols = [name for name in ("cc", "sc", "general") if any(protocol == name for _, protocol, _ in run.scores)]
    drawn = []
    for metric, title in METRICS.items():
        for protocol in protocols:
            lines = [
                _line(series, quality_name(quality), ORANGE if quality == "lq" else BLUE, in_percent=True)
                for quality in qualities
                if (series := run.scores.get((quality, protocol, metric)))
            ]
            drawn.append(Panel(f"{title}, {protocol_name(protocol)}", lines, from_zero=True))
    best = "" if run.best_epoch is None else f" The dotted line is the best checkpoint's epoch, {run.best_epoch}."
    return Chart(
        "scores",
        "Validation identities",
        f"Scores in percent after every evaluation, of queries as they are (HQ) and degraded (LQ).{best}",
        "No evaluation has been tracked yet.",
        panels(drawn, columns=len(protocols), x_title="CAP epoch", mark=run.best_epoch) if drawn else None,
    )


def _losses(run: RunReport) -> Iterator[Chart]:
    if not run.losses:
        yield Chart("losses", "Losses", "", "No loss has been tracked yet.", None)
    for phase, terms in run.losses.items():
        name, what, colour = PHASES[phase]
        drawn = [
            Panel(_words("all together" if term == "loss" else term), _faint_and_strong(series, colour))
            for term, series in terms.items()
        ]
        yield Chart(
            f"losses-{phase}",
            f"Losses of {name} steps",
            f"Of {what}: every term with its weight, over optimiser steps. The strong line is smoothed.",
            "",
            panels(drawn, columns=4, x_title="step"),
        )


def _conflict(run: RunReport) -> Chart:
    cosine, ratio = (run.diagnostics.get(f"gradient_{name}") for name in ("cosine", "norm_ratio"))
    drawn = [Panel("cosine of the gradients", [_line(cosine, "cosine", BLUE)], level=0.0)] if cosine else []
    if ratio:
        drawn.append(Panel("norm of CAP's over that of TAD's", [_line(ratio, "ratio", GREEN)], level=1.0, is_log=True))
    return Chart(
        "conflict",
        "Do the phases pull together?",
        "The gradients on both sides of the last changes of phase before every evaluation: below a cosine of zero the "
        "steps of the two phases work against each other, above it they help each other.",
        "No angle between the gradients of two phases was tracked: there is one phase, or no evaluation yet.",
        panels(drawn, columns=2, x_title="CAP epoch") if drawn else None,
    )


def _severities(run: RunReport) -> Chart:
    of_test = any("-" in score.quality for score in run.test)
    scores = run.test if of_test else run.validation
    by_quality = {score.quality: score.values["mAP"] for score in scores if score.protocol == run.select_on}
    lines = []
    for artefact, colour in OF_ARTEFACT.items():
        found = [(name, by_quality.get(f"{artefact}-{name}")) for name in SEVERITIES]
        points = [("none", by_quality.get("hq")), *found] if any(value is not None for _, value in found) else []
        known = [(name, value) for name, value in points if value is not None]
        if known:
            lines.append(
                go.Scatter(
                    x=[name for name, _ in known],
                    y=[100 * value for _, value in known],
                    name=artefact,
                    mode="lines+markers",
                    line={"color": colour, "width": 2},
                    hovertemplate=f"{artefact}, %{{x}}: %{{y:.1f}}<extra></extra>",
                )
            )
    return Chart(
        "severities",
        "By artefact and severity",
        f"mAP in percent under the protocol {protocol_name(run.select_on)}, queries degraded by one artefact, on the "
        f"{'test' if of_test else 'validation'} identities.",
        "",
        panels([Panel("", lines)], columns=1, x_title="severity", height_px=320) if lines else None,
    )


def _diagnostics(run: RunReport) -> Chart:
    own = {name: series for name, series in run.diagnostics.items() if not name.startswith("gradient_")}
    drawn = []
    for name, series in own.items():
        if name.endswith(CHANCE):
            continue
        lines = [_line(series, "measured", BLUE)]
        if name + CHANCE in own:
            lines.append(_line(own[name + CHANCE], "by chance", SLATE, dash="dot"))
        drawn.append(Panel(_words(name), lines))
    return Chart(
        "diagnostics",
        "What the features hold",
        "Of the validation identities. Silhouettes, from −1 to 1, are high where features part by quality, or by "
        "identity; the share of degraded images among a degraded image's neighbours, and of wrong matches that have "
        "the query's gender, stand beside what chance gives.",
        "",
        panels(drawn, columns=3, x_title="CAP epoch") if drawn else None,
    )


def _course(run: RunReport) -> Chart:
    drawn = [Panel(name, _faint_and_strong(series, SLATE)) for name, series in run.course.items()]
    if rate := run.learning_rate:
        is_log = all(value > 0 for _, value in rate)
        drawn.insert(0, Panel("learning rate", [_line(rate, "learning rate", SLATE, mode="lines")], is_log=is_log))
    return Chart(
        "course",
        "How it went",
        "Over optimiser steps; the strong line is smoothed. Images per second are those of all workers.",
        "",
        panels(drawn, columns=4, x_title="step") if drawn else None,
    )


def _line(
    series: Series,
    name: str,
    colour: str,
    *,
    dash: str = "solid",
    in_percent: bool = False,
    mode: str = "lines+markers",
) -> go.Scatter:
    factor, steps, values = (100 if in_percent else 1), *thinned(series)
    return go.Scatter(
        x=steps,
        y=[factor * value for value in values],
        name=name,
        mode=mode,
        line={"color": colour, "width": 2, "dash": dash},
        marker={"size": 5},
        hovertemplate=f"{name} %{{y:{'.1f' if in_percent else '.3g'}}} at %{{x}}<extra></extra>",
    )


def _faint_and_strong(series: Series, colour: str) -> list[go.Scatter]:
    steps, values = thinned(series)
    look = {"x": steps, "mode": "lines", "showlegend": False}
    strong = smoothed(values)
    return [
        go.Scatter(y=values, line={"color": colour, "width": 1}, opacity=0.3, hoverinfo="skip", **look),
        go.Scatter(
            y=strong, line={"color": colour, "width": 2}, hovertemplate="%{y:.4g} at step %{x}<extra></extra>", **look
        ),
    ]


def thinned(series: Series, most: int = MOST_POINTS) -> tuple[Sequence[float], Sequence[float]]:
    """Average neighbours until there are no more than so many points; give their steps and values."""
    parts = np.array_split(np.asarray(series, dtype=np.float64), min(most, len(series)))
    means = np.array([part.mean(axis=0) for part in parts])
    return means[:, 0].round().tolist(), means[:, 1].tolist()


def _words(name: str) -> str:
    quality, _, rest = name.partition("/")
    words = f"{rest.rpartition('/')[2]}, {quality_name(quality)} queries" if rest else name
    return words.replace("_", " ").replace("hq", "HQ").replace("lq", "LQ")
