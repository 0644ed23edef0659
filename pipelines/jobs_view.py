"""Jobs of a cluster as a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from cluster.jobs.record import JobRecord

COLOURS = {"succeeded": "green", "failed": "red", "stopped": "yellow", "running": "bold"}
SHORT = 10


def jobs_table(jobs: Sequence[JobRecord]) -> Table:
    """Show jobs in their order; times are this machine's."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("job", "state", "command", "since", "user", "commit"):
        table.add_column(column, no_wrap=column != "command", overflow="fold")
    for job in jobs:
        since = datetime.fromtimestamp(job.since_s).astimezone().strftime("%Y-%m-%d %H:%M")
        mark = "+" if job.commit.endswith("+") else ""
        commit = job.commit.removesuffix("+")[:SHORT] + mark
        state = Text(job.state, COLOURS.get(job.state, ""))
        table.add_row(Text(job.job_id), state, Text(job.command), since, Text(job.user), commit)
    return table
