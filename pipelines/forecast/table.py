"""How a forecast looks on a terminal: ranges in the units that people would take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
TIMES = ((2 * 86400, 86400, "days"), (2 * 3600, 3600, "h"), (120, 60, "min"), (1, 1, "s"), (0, 1e-3, "ms"))
"""From so many seconds on, a unit of so many, and its name."""


def forecast_table(plan: Mapping[str, Any]) -> Table:
    """Lay a forecast out, a line for each thing that it takes."""
    title = f"{plan['kind']} {plan['name']}, as a few steps of it foretell"
    table = Table(title=Text(title), title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _lines(plan):
        table.add_row(Text(name), Text(text))
    return table


def _lines(plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    is_sweep = plan["kind"] == "sweep"
    together = f", {plan['at_a_time']} trainings at a time" if is_sweep else ""
    yield "place", f"{plan['workers']}{together}; the cluster has {plan['cluster']}"
    gpu = f"; {span(plan['gpu_bytes'], size)} of the GPU" if plan["gpu_bytes"] else ""
    yield "memory of a worker", span(plan["memory_bytes"], size) + gpu
    for name, step in plan["steps"].items():
        yield (
            f"{name.upper()} steps",
            f"{step['count']:,} of {step['images']} images, {span(step['seconds'], seconds_of)} each "
            f"({step['tried']} tried)",
        )
    yield "evaluation", f"{span(plan['evaluation_seconds'], seconds_of)} with its checkpoint"
    yield "start and end", span(plan["start_seconds"], seconds_of)
    if is_sweep:
        yield from _lines_of_sweep(plan)
    else:
        yield "time", f"{span(plan['seconds'], seconds_of)} for {plan['epochs']} CAP epochs, {plan['images']:,} images"
    first, whole = size(plan["read_first_epoch_bytes"]), span(plan["read_bytes"], size)
    yield "read from the store", f"{first} in the first epoch, {whole} in a training"
    taken = size(plan["checkpoints"] * plan["checkpoint_bytes"])
    free = "" if plan["free_bytes"] is None else f"; the store's disk has {size(plan['free_bytes'])} free"
    yield "checkpoints", f"at most {plan['checkpoints']} of {size(plan['checkpoint_bytes'])}, {taken}{free}"
    for remark in plan["remarks"]:
        yield "beware", remark


def _lines_of_sweep(plan: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "a training", f"{span(plan['training_seconds'], seconds_of)}, over {plan['configurations']} configurations"
    if plan["data_seconds"]:
        yield "data", f"{span(plan['data_seconds'], seconds_of)} to render and ingest people"
    if plan["teacher_seconds"]:
        yield "teacher", f"{span(plan['teacher_seconds'], seconds_of)}, once"
    early = "" if plan["stopping"] == "none" else f"; the less, the more {plan['stopping']} stops early"
    yield "trainings", " + ".join(map(str, plan["trainings"])) + " at most"
    yield "time", f"{span(plan['seconds'], seconds_of)} for all{early}"


def span(ends: Sequence[float], write: Any) -> str:
    """Write a range, or its one value where both ends read alike."""
    low, high = (write(end) for end in ends)
    if low == high:
        return str(low)
    (number, _, unit), (_, _, other) = low.partition(" "), high.partition(" ")
    return f"{number}–{high}" if unit == other else f"{low} to {high}"


def size(number_bytes: float) -> str:
    """Write a number of bytes (MB are 10⁶ bytes) to two digits that count."""
    unit_bytes, unit = next((pair for pair in UNITS if number_bytes >= pair[0]), UNITS[-1])
    return f"{_two_digits(number_bytes / unit_bytes)} {unit}"


def seconds_of(seconds: float) -> str:
    """Write a time to two digits that count."""
    unit_s, unit = next((unit_s, unit) for least_s, unit_s, unit in TIMES if seconds >= least_s)
    return f"{_two_digits(seconds / unit_s)} {unit}"


def _two_digits(number: float) -> str:
    return f"{float(f'{number:.2g}'):,g}"
