"""The commands about sweeps: `rlq sweep SWEEP`, `rlq sweep resume NAME` and `rlq sweep show NAME`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from pipelines.cli_options import AsJson, Overrides, Store, TrackingUri, print_json

if TYPE_CHECKING:
    from pipelines.sweep.begun import Sweep
    from pipelines.sweep.report import SweepReport


class _BeginsByDefault(TyperGroup):
    """Takes what is no command for the name of a sweep to begin."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in that was left out."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["begin", *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


sweep_app = typer.Typer(cls=_BeginsByDefault, help="Search settings with Ray Tune.", no_args_is_help=True)


@sweep_app.command("begin")
def begin(
    source: Annotated[str, typer.Argument(metavar="SWEEP", help="Name of a shipped sweep, or a .toml file.")],
    overrides: Overrides = None,
    name: Annotated[str | None, typer.Option(help="Name of the sweep; by default that of the file.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for images and the report.")] = Path("rlq-data"),
    store: Store = None,
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
) -> None:
    """Begin a sweep: `rlq sweep SWEEP` is short for this."""
    from pipelines.places import find_places
    from pipelines.sweep.course import begin_sweep, carry_out

    places = find_places(store=store, tracking_uri=tracking_uri, home=out)
    sweep = begin_sweep(source, places, name=name, out=out, overrides=tuple(overrides or ()))
    _tell(carry_out(sweep), sweep, as_json)


@sweep_app.command("resume")
def resume(
    name: Annotated[str, typer.Argument(help="Name of the sweep.")],
    out: Annotated[Path, typer.Option(help="Folder of the defaults of --store and --tracking-uri.")] = Path("rlq-data"),
    store: Store = None,
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a sweep however it ended: nothing that finished is trained again."""
    from pipelines.places import find_places
    from pipelines.sweep.begun import find_sweep
    from pipelines.sweep.course import carry_out

    sweep = find_sweep(name, find_places(store=store, tracking_uri=tracking_uri, home=out))
    _tell(carry_out(sweep), sweep, as_json)


@sweep_app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="Name of the sweep.")],
    out: Annotated[Path, typer.Option(help="Folder of the defaults of --store.")] = Path("rlq-data"),
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Show how a sweep stands, also while it runs."""
    from pipelines.places import find_places
    from pipelines.sweep.begun import find_sweep, report_sweep

    sweep = find_sweep(name, find_places(store=store, home=out))
    _tell(report_sweep(sweep), sweep, as_json)


def _tell(report: SweepReport, sweep: Sweep, as_json: bool) -> None:
    from pipelines.console import stdout
    from pipelines.sweep.table import sweep_tables

    if as_json:
        print_json(report)
        return
    for table in sweep_tables(report):
        stdout.print(table)
    stdout.print(f"Report: {sweep.folder / 'report.html'}")
