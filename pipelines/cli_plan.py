"""The command `rlq plan RECIPE|SWEEP [KEY=VALUE]…`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli_options import AsJson, Overrides, Store, print_json


def plan(
    source: Annotated[str, typer.Argument(metavar="RECIPE|SWEEP", help="Name of a shipped one, or a .toml file.")],
    overrides: Overrides = None,
    workers: Annotated[int | None, typer.Option(help="Ray Train workers of a recipe's training.")] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Take a few real steps on the cluster, and tell memory, hours, bytes and place beforehand; nothing is kept."""
    from pipelines.console import stdout
    from pipelines.forecast.course import forecast
    from pipelines.forecast.table import forecast_table
    from pipelines.places import find_places
    from pipelines.sweep.plan import refuse_full_disk

    settings = [*(overrides or []), *([f"workers.count={workers}"] if workers else [])]
    places = find_places(store=store)
    found = forecast(source, settings, places)
    if as_json:
        print_json(found)
    else:
        stdout.print(forecast_table(found))
    mend = "lower budget.trials" if found["kind"] == "sweep" else "lower workers.checkpoints_to_keep"
    refuse_full_disk(found["checkpoints"], found["checkpoint_bytes"], places.store, mend)
