"""How a sweep's report looks on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rich import box
from rich.table import Table
from rich.text import Text

from pipelines.sweep.ranking import Line, explanations, facts, ranking
from pipelines.sweep.values import Sweep, read_sweep


def sweep_tables(report: Mapping[str, Any]) -> list[Table]:
    """Lay out the ranking, why trials ended, the facts and the conclusion; what there is nothing of is left out."""
    sweep = read_sweep(report)
    reasons = [(f"{trial.number}", f"{trial.state}: {trial.reason}") for trial in sweep.in_order if trial.reason]
    tables = [
        _ranking(sweep),
        _plain("Why trials ended", reasons),
        _plain("The sweep", facts(sweep)),
        _plain("Conclusion", [(sentence,) for sentence in sweep.conclusion]),
    ]
    return [table for table in tables if table.row_count]


def _ranking(sweep: Sweep) -> Table:
    found = ranking(sweep)
    table = Table(
        title=Text(f"{sweep.title or sweep.name} ({sweep.state})"),
        title_justify="left",
        caption=Text("\n".join(explanations(sweep))),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
    )
    own = len(found.columns) - len(sweep.keys)
    for place, name in enumerate([*found.columns[:own], *_short(sweep.keys)]):
        whole = _width(name, [line.cells[place].text for line in found.lines]) if place < own else None
        justify: Literal["left", "right"] = "left" if found.is_text(place) else "right"
        table.add_column(Text(name), justify=justify, width=whole, overflow="fold")
    for line in found.lines:
        table.add_row(*(Text(cell.text) for cell in line.cells), style=_style(line))
    return table


def _width(name: str, cells: Sequence[str]) -> int:
    """Give what the cells need in one line each, and the longest word of the name."""
    return max(map(len, [*name.split(" "), *cells]))


def _style(line: Line) -> str:
    if line.trial.rank == 1:
        return "bold"
    return "dim" if line.trial.is_out else ""


def _plain(title: str, rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _short(keys: Sequence[str]) -> list[str]:
    """Leave a setting's section out where its name is enough."""
    names = [key.rpartition(".")[2] for key in keys]
    often = Counter(names)
    return [name if often[name] == 1 else key for key, name in zip(keys, names, strict=True)]
