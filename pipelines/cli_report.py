"""The command `rlq report RUN|SWEEP --out FILE.html`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.cli_options import AsJson, Store, TrackingUri, html_path, print_json
from rlq_ray.errors import UsageError


def report(
    name: Annotated[
        str, typer.Argument(metavar="RUN|SWEEP", help="Name of a run or of a sweep, or a sweep's report.json.")
    ],
    out: Annotated[Path, typer.Option(help="HTML file to write.")],
    kind: Annotated[str | None, typer.Option(help="run or sweep, where both have the name.")] = None,
    store: Store = None,
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
) -> None:
    """Write a report as one page that opens from disk; of what still runs, how far it has come."""
    from pipelines.console import stdout
    from pipelines.places import find_places
    from pipelines.report import Kind, write_report

    kinds: dict[str | None, Kind | None] = {None: None, "run": "run", "sweep": "sweep"}
    if kind not in kinds:
        raise UsageError(f"--kind {kind} is neither run nor sweep: give one of them")
    places = find_places(store=store, tracking_uri=tracking_uri)
    file = html_path(out)
    found = write_report(name, places, file, kind=kinds[kind])
    if as_json:
        answer: dict[str, Any] = {"name": name, "kind": found, "report": str(file.absolute())}
        print_json(answer)
        return
    stdout.print(f"Report: {file}")


def report_command(name: str, store: str | None, tracking_uri: str | None) -> str:
    """Write the command that makes a run's report, for whoever has named its places on the command line."""
    where = [("--store", store), ("--tracking-uri", tracking_uri)]
    return " ".join([f"rlq report {name} --out {name}.html", *(f"{key} {value}" for key, value in where if value)])
