"""A preflight's report for people: tables of what there is, then notes, then findings. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rlq_ray.data.check import Bin, Finding, Note, Report, Spread

SHOWN_EXAMPLES = 10
SHORT_EXAMPLE = 24
"""Characters up to which examples stand side by side."""
BAR_WIDTH = 20


def report_view(report: Report) -> RenderableType:
    """Lay out a whole report, the verdict last, where the eye is when a command ends."""
    return Group(*_blocks(report))


def _blocks(report: Report) -> Iterator[RenderableType]:
    version = f", content {report.content_hash[:12]}" if report.content_hash else ", raw folder"
    yield Text.from_markup(f"[bold]{escape(report.name)}[/bold] · layout {report.layout}{version}\n")
    yield _splits(report)
    yield _parts(report)
    if report.images.heights:
        yield _sizes(report)
    yield Text()
    yield _facts(report)
    if report.notes:
        yield Text(f"\n{_count(len(report.notes), 'note')}", style="bold")
        yield _remarks(report.notes, "·", "yellow")
    if report.sound:
        yield Text("\n✓ sound: nothing wrong was found", style="bold green")
    else:
        yield Text(f"\n✗ {_count(len(report.findings), 'finding')}", style="bold red")
        yield _remarks(report.findings, "✗", "red")


def _splits(report: Report) -> Table:
    table = Table(title="Splits", title_justify="left")
    table.add_column("split")
    for column in ("images", "identities", "clothes", "cameras"):
        table.add_column(column, justify="right")
    published = report.published.images if report.published else {}
    if report.published:
        table.add_column(f"images of {report.published.title} as published", justify="right")
    for split in dict.fromkeys((*report.splits, *published)):
        counts = report.splits.get(split)
        numbers = (counts.images, counts.identities, counts.clothes, counts.cameras) if counts else (0, 0, 0, 0)
        cells = [f"{number:,}" for number in numbers]
        if report.published:
            wanted = published.get(split, 0)
            cells.append(f"{wanted:,}" if wanted == numbers[0] else f"[red]{wanted:,}[/red]")
        table.add_row(split, *cells)
    return table


def _parts(report: Report) -> Table:
    title = "Per identity: least · median · most"
    table = Table(title=title, title_justify="left")
    table.add_column("part")
    for column in ("identities", "images", "clothes", "cameras", "in one outfit"):
        table.add_column(column, justify="right")
    for part, found in report.parts.items():
        table.add_row(
            part,
            f"{found.identities:,}",
            _spread(found.images_per_identity),
            _spread(found.clothes_per_identity),
            _spread(found.cameras_per_identity),
            f"{found.single_outfit_identities:,}",
        )
    return table


def _sizes(report: Report) -> Table:
    table = Table(title="Pixels", title_justify="left")
    for side in ("height", "width"):
        table.add_column(side, justify="right")
        table.add_column("images", justify="right")
        table.add_column("", min_width=BAR_WIDTH)
    for height, width in zip_longest(report.images.heights, report.images.widths):
        table.add_row(*_bin(height, report.images.heights), *_bin(width, report.images.widths))
    return table


def _bin(shown: Bin | None, bins: Sequence[Bin]) -> tuple[str, str, str]:
    if shown is None:
        return "", "", ""
    most = max(other.images for other in bins)
    pixels = f"{shown.first}" if shown.first == shown.last else f"{shown.first}–{shown.last}"
    return pixels, f"{shown.images:,}", "█" * -(-BAR_WIDTH * shown.images // most)


def _facts(report: Report) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    images, copies = report.images, report.duplicates
    kinds = ", ".join(f"{count:,} {kind.upper()}" for kind, count in images.formats.items())
    table.add_row("files", f"{kinds}; {images.unreadable:,} unreadable; {images.masks:,} masks")
    table.add_row(
        "copies",
        f"{copies.across_parts:,} across train, val and test byte for byte, {copies.near_across_parts:,} by look; "
        f"{copies.within_parts:,} within one of them",
    )
    asked = {name: found for name, found in report.queries.items() if found.with_match + found.without_match}
    if asked:
        answers = (f"{name} {f.with_match:,} of {f.with_match + f.without_match:,}" for name, f in asked.items())
        table.add_row("queries", "with a match under " + ", ".join(answers))
    for name, side in report.side_files.items():
        rates = [f"{rate:.1%} of the {what}images" for what, rate in (("training ", side.training), ("", side.all))
                 if rate is not None]  # fmt: skip
        table.add_row(f"{name} file" if name != "masks" else name, "covers " + ", ".join(rates))
    table.add_row("gender", ", ".join(f"{count:,} {name}" for name, count in report.gender.items()))
    table.add_row("pose", _poses(report.poses))
    return table


def _poses(poses: dict[str, int]) -> str:
    clusters = [count for cluster, count in poses.items() if cluster != "0"]
    if not clusters:
        return "no clusters"
    spread = f"{len(clusters)} clusters of {min(clusters):,} to {max(clusters):,} images"
    return f"{spread}, {poses.get('0', 0):,} images without"


def _remarks(remarks: Sequence[Finding] | Sequence[Note], mark: str, style: str) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(style=style, no_wrap=True)
    table.add_column(overflow="fold")
    for remark in remarks:
        table.add_row(mark, Text(remark.message))
        for line in _example_lines(remark):
            table.add_row("", Text(f"  {line}", style="dim"))
    return table


def _example_lines(remark: Finding | Note) -> list[str]:
    shown, more = list(remark.examples[:SHOWN_EXAMPLES]), remark.count - SHOWN_EXAMPLES
    if len(remark.examples) > SHOWN_EXAMPLES:
        shown.append(f"… and {more:,} more; --json names {len(remark.examples)}")
    is_short = all(len(example) <= SHORT_EXAMPLE for example in remark.examples)
    return [", ".join(shown)] if shown and is_short else shown


def _spread(spread: Spread) -> str:
    return " · ".join(f"{value:,.1f}".removesuffix(".0") for value in (spread.min, spread.median, spread.max))


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
