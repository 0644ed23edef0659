"""A sweep's texts as plotly reads them: its markup, in which values of users are no markup."""

from __future__ import annotations

from pipelines.page.words import plain
from pipelines.sweep.ranking import score_text, value_text
from pipelines.sweep.values import Sweep, Trial

_LONGEST_VALUE = 60
"""Characters of a value under the pointer."""


def axis_title(sweep: Sweep, place: int) -> str:
    """Name an objective beside its axis."""
    return plain(f"{sweep.objectives[place].name}, %")


def trial_words(trial: Trial, sweep: Sweep) -> str:
    """Describe a trial under the pointer: number, rank, scores and values."""
    rank = "" if trial.rank is None else f", rank {trial.rank}"
    places = range(max(1, len(trial.mean)))
    lines = [f"{own.name} {score_text(trial, place)}" for place, own in zip(places, sweep.objectives, strict=False)]
    lines += [
        f"{key} = {_cut(value_text(trial.values[key]))}" for key in sweep.keys if trial.values.get(key) is not None
    ]
    return "<br>".join([f"<b>trial {trial.number}</b>{rank}", *map(plain, lines)])


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
