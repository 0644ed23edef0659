"""A run's report as one HTML page that opens from disk and asks nothing of the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tomli_w

from pipelines.page.words import MISSING, percent
from pipelines.page.write import write_page
from pipelines.run_report.charts import run_charts
from pipelines.run_report.values import PERCENTAGES, RunReport, Score
from rlq_ray.config.load import without_empty
from rlq_ray.pictures.style import protocol_name, quality_name

TEMPLATE = Path(__file__).parent / "pages" / "run.html"
HEADER = ("protocol", "query", "top-1", "mAP", "mINP", "chance mAP", "queries")


def run_page(run: RunReport) -> str:
    """Write the page of a run, however far it has come: summary, scores, charts and configuration."""
    return write_page(
        TEMPLATE,
        run_charts(run),
        run=run,
        summary=summary(run),
        header=HEADER,
        tables=[
            (key, title, [_row(score) for score in scores])
            for key, title, scores in (
                ("validation", "The best checkpoint on the validation identities", run.validation),
                ("test", "The same checkpoint on the test identities", run.test),
            )
            if scores
        ],
        settings=tomli_w.dumps(without_empty(run.config)),
    )


def summary(run: RunReport) -> list[str]:
    """Say in sentences what has come of a run."""
    sentences = [f"It ended so: {run.reason}."] if run.reason else []
    if not run.is_tracked:
        sentences.append("It was not tracked, so there are no curves.")
    chosen = {score.quality: score for score in run.validation if score.protocol == run.select_on}
    if not chosen or run.best_epoch is None:
        return [*sentences, "No checkpoint has been measured yet."] if run.is_tracked else sentences
    protocol = protocol_name(run.select_on)
    text = f"The best checkpoint so far is that after CAP epoch {run.best_epoch}: {protocol} mAP"
    scores = [f"{_text(score, 'mAP')} on {quality_name(name)} queries" for name, score in chosen.items()]
    chance = next(iter(chosen.values())).values.get("chance_mAP")
    beside = f", and {percent(chance)} by chance" if chance is not None else ""
    return [
        *sentences,
        f"{text if run.state != 'finished' else text.replace(' so far', '')} {', '.join(scores)}{beside}. "
        "It was chosen by its HQ score on these validation identities, which flatters it.",
    ]


def _row(score: Score) -> Sequence[str]:
    values = score.values
    return (
        protocol_name(score.protocol),
        quality_name(score.quality),
        *(_text(score, name) for name in PERCENTAGES),
        percent(values["chance_mAP"]) if "chance_mAP" in values else MISSING,
        f"{values['queries']:.0f}" if "queries" in values else MISSING,
    )


def _text(score: Score, name: str) -> str:
    if name not in score.values:
        return MISSING
    ends = score.intervals.get(name)
    between = f" ({percent(ends[0])} … {percent(ends[1])})" if ends else ""
    return percent(score.values[name]) + between
