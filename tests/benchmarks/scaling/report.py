"""The tables of docs/scale.md, from what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .model import Assumptions, Case, Units, dollars, first, loads, predict_reading, predict_tracking, times

GPUS, IMAGES = (1, 8, 64, 512), (1e6, 1e8)
ASSUMED = Assumptions()
POINTS = 200
"""Of a simulated tracker's call."""
NAMES = {"GPUs": "GPUs", "requests": "requests to S3", "storage": "storage, a month"}


def everything(measured: Mapping[str, Any]) -> str:
    """Give all tables, by their titles."""
    return "\n\n".join(f"### {title}\n\n{table}" for title, table in tables(measured).items())


def tables(measured: Mapping[str, Any]) -> dict[str, str]:
    """Give the tables as Markdown, by their titles."""
    units = measured["units"]
    return {
        "What one costs": _units(units),
        "Load of each part": _loads(units),
        "Time": _times(units),
        "Cost": _dollars(units),
        "Readers": _readers(units, measured["reading"], measured["settings"]["seconds"]),
        "Trackers": _trackers(units, measured["tracking"]),
    }


def _units(units: Units) -> str:
    def micro(key: str, digits: int) -> str:
        return f"{units[key] * 1e6:.{digits}f} µs"

    index = (
        f"{units['index_bytes_per_image']:.0f} bytes of memory, {units['index_file_bytes_per_image']:.0f} in the file"
    )
    lane, whole = micro("lane_plan_s_per_image", 1), micro("whole_plan_s_per_image", 1)
    size, write_s = f"{units['checkpoint_bytes'] / 1e6:.0f} MB", f"{units['checkpoint_write_cpu_s']:.1f} s of a CPU"
    read = f"{units['read_bytes_per_image'] / 1e3:.1f} KB, {units['requests_per_image']:.4f} requests"
    call, large_call = (f"{units[key] * 1e3:.0f} ms" for key in ("call_s", "large_call_s"))
    driver = f"{units['driver_bytes_per_trial'] / 1e6:.2f} MB of the driver's memory"
    rows = [
        ("image in the store", f"{units['stored_bytes_per_image'] / 1e3:.1f} KB"),
        ("image read by one worker", read),
        ("image read and decoded", f"{micro('reading_cpu_s_per_image', 0)} of a CPU"),
        ("image in a worker's index", f"{index}, {micro('index_open_s_per_image', 2)} to open"),
        ("image in an epoch's plan, from a window", f"{micro('window_plan_s_per_image', 1)}, one lane of it {lane}"),
        ("image in an epoch's plan, from the whole set", whole),
        ("checkpoint (ResNet-50, two branches, optimiser)", f"{size}, {write_s}"),
        ("checkpoint, into the local store", f"{units['checkpoint_put_s']:.1f} s"),
        ("optimiser step", f"{units['calls_per_step']:.2f} calls of MLflow, {units['points_per_step']:.0f} values"),
        ("evaluation", f"{units['calls_per_evaluation']:.1f} calls of MLflow"),
        ("call of MLflow, eight at a time", f"{call} of the server with 200 values, {large_call} with 1,000"),
        ("trial of a sweep", f"{driver}, {units['seconds_per_trial']:.2f} s"),
        ("query against a gallery image", f"{micro('ranking_cpu_s_per_pair', 2)} of a CPU, all protocols"),
    ]
    return _table(("one …", "costs"), rows)


def _loads(units: Units) -> str:
    cases = {f"{gpus} GPU{'s' if gpus > 1 else ''}": Case(gpus, images) for images in IMAGES for gpus in GPUS}
    found = {(gpus, images): loads(Case(gpus, images), units, ASSUMED) for images in IMAGES for gpus in GPUS}
    shared = {gpus: loads(Case(gpus, 1e6, trainings=gpus // 8), units, ASSUMED) for gpus in (64, 512)}
    heads = ("part", *cases, "64 as 8 trainings", "512 as 64 trainings")
    rows = []
    for part in found[1, 1e6]:
        by_images = [[found[gpus, images][part] for gpus in GPUS] for images in IMAGES]
        shares = [shared[gpus][part] for gpus in shared]
        if by_images[0] == by_images[1]:
            rows.append((part, *map(_share, by_images[0]), *map(_share, shares)))
        else:
            rows += [
                (f"{part}, {_count(images)}", *map(_share, own), *(map(_share, shares) if images == 1e6 else ("", "")))
                for images, own in zip(IMAGES, by_images, strict=True)
            ]
    firsts = [first(found[gpus, 1e6]) for gpus in GPUS] + [first(shared[gpus]) for gpus in shared]
    rows.append(("**first**", *(f"**{part}**" for part in firsts)))
    return _table(heads, rows)


def _times(units: Units) -> str:
    rows = []
    for images in IMAGES:
        for gpus in GPUS:
            found = times(Case(gpus, images), units, ASSUMED)
            rows.append((f"{_count(images)}, {gpus} GPU{'s' if gpus > 1 else ''}", *map(_seconds, found.values())))
    return _table(("images, GPUs", "epoch", "index opened", "first plan", "checkpoint", "10,000 queries ranked"), rows)


def _dollars(units: Units) -> str:
    rows = []
    for images in IMAGES:
        for gpus in GPUS:
            found = dollars(Case(gpus, images), units, ASSUMED)
            named = f"{_count(images)}, {gpus} GPU{'s' if gpus > 1 else ''}"
            rows.append((named, *(f"${cost:,.2f}" for cost in found.values())))
    return _table(("images, GPUs", "GPUs, an epoch", "requests to S3, an epoch", "storage, a month"), rows)


def _readers(units: Units, levels: Sequence[Mapping[str, float]], measured_s: float) -> str:
    most, seconds = levels[0]["images_per_s"], measured_s
    rows = []
    for level in levels[1:]:
        said = predict_reading(units, readers=64, demand=level["demand"], most_images_per_s=most, seconds=seconds)
        rows.append(
            (
                f"{level['level']:.2f}",
                f"{said['images_per_s']:,.0f} / {level['images_per_s']:,.0f}",
                f"{said['requests_per_s']:.1f} / {level['requests_per_s']:.1f}",
                f"{said['bytes_per_s'] / 1e6:.0f} / {level['bytes_per_s'] / 1e6:.0f}",
                f"{said['bytes_per_s'] / level['bytes_per_s']:.2f}",
                f"{level['stall_share']:.0%}",
            )
        )
    return _table(
        ("demand / most", "images/s", "requests/s", "MB/s", "foretold : simulated (MB/s)", "time waited"), rows
    )


def _trackers(units: Units, levels: Sequence[Mapping[str, float]]) -> str:
    rows = []
    for level in levels:
        calls, how = predict_tracking(units, demand=level["demand"], points=POINTS)
        rows.append(
            (
                f"{level['level']:.2f}",
                f"{calls:.1f}, {how}",
                f"{level['calls_per_s']:.1f}",
                f"{level['lag_s']:.1f} s",
                f"{level['stored']:,.0f} of {level['points']:,.0f}",
            )
        )
    return _table(
        ("demand / most", "calls/s foretold", "calls/s simulated", "all stored after the end", "values stored"), rows
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _share(load: float) -> str:
    return f"{load:.1%}" if load < 0.1 else f"{load:.0%}"


def _count(images: float) -> str:
    return f"{images / 1e6:.0f} M images"


def _seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
