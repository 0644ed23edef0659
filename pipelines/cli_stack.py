"""The commands about the local stack: `rlq up`, `rlq status`, `rlq down`; and `rlq doctor`, which examines all."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli_options import AsJson, Store, TrackingUri, print_json

if TYPE_CHECKING:
    from cluster.stack.card import StackCard


def up(
    dashboard_port: Annotated[int | None, typer.Option(help="Of Ray's dashboard and job server. [8265]")] = None,
    mlflow_port: Annotated[int | None, typer.Option(help="Of the MLflow server. [5000]")] = None,
    s3_port: Annotated[int | None, typer.Option(help="Of the S3 server. [8333]")] = None,
    ray_port: Annotated[int | None, typer.Option(help="Of Ray itself. [6379]")] = None,
    cpus: Annotated[int | None, typer.Option(help="Logical CPUs of Ray. [those of the machine]")] = None,
    print_systemd: Annotated[
        bool, typer.Option("--print-systemd", help="Print systemd user units instead, as a script that installs them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start a Ray head, an S3 server and an MLflow server on this machine, or mend those that run.

    They listen on the loopback address only, ask for keys, outlive this command, and are used by all others that are
    called in this folder, until `rlq down`. A usual port that is taken is replaced by a free one; one that is named
    here is not.
    """
    from cluster.stack.course import prepare_stack, start_stack
    from cluster.stack.settings import Wishes
    from cluster.stack.systemd import as_script, units
    from pipelines.console import stage, stderr

    folder = _folder()
    wishes = Wishes(ray_port, dashboard_port, s3_port, mlflow_port, cpus)

    def tell(line: str) -> None:
        stderr.print(f"  {line}")

    if print_systemd:
        servers = prepare_stack(folder, wishes, tell)
        sys.stdout.write(as_script(units(folder, servers, os.environ.get("PATH", os.defpath)), folder))
        return
    with stage(f"start the stack in {folder}"):
        card = start_stack(folder, wishes, tell)
    if as_json:
        print_json(_addresses(card))
        return
    _print_addresses(card)


def status(as_json: AsJson = False) -> None:
    """Show what runs of the stack, since when, where, and what it holds; status 1 if something of it is dead."""
    from cluster.stack.card import read_stack
    from cluster.stack.states import disk_bytes, stack_states
    from pipelines.console import stdout
    from rlq_ray.errors import ServiceError

    folder = _folder()
    card, states = read_stack(folder), stack_states(folder)
    is_up = card is not None or any(state.state != "ended" for state in states)
    disk = {name: disk_bytes(folder / name) for name in ("s3", "mlflow", "logs")} if states else {}
    if as_json:
        servers = [vars(state) for state in states]
        print_json({"is_up": is_up, "folder": str(folder), "servers": servers, "disk_bytes": disk,
                    "addresses": _addresses(card) if card else None})  # fmt: skip
    elif not is_up:
        stdout.print(f"No stack is up in {folder}: `rlq up` starts one.")
    else:
        for state in states:
            since = f"since {time.strftime('%F %T', time.localtime(state.since_s))}" if state.since_s else ""
            pid, memory = f"pid {state.pid}" if state.pid else "", f"{state.memory_bytes / 2**20:.0f} MB"
            stdout.print(f"{state.title:<14} [bold]{state.state:<8}[/bold]  {memory:>8}  {pid:<12} {since}".rstrip())
        sizes = ", ".join(f"{name} {size / 2**20:.1f} MB" for name, size in disk.items())
        stdout.print(f"On disk: {sizes}")
        if card:
            _print_addresses(card)
    if is_up and any(state.state != "running" for state in states):
        bad = ", ".join(f"{state.title}: {state.state}" for state in states if state.state != "running")
        raise ServiceError(f"{bad}; `rlq up` mends it, logs are in {folder / 'logs'}")


def down() -> None:
    """End the stack, and nothing else; its data and keys stay for the next `rlq up`."""
    from cluster.stack.course import end_stack
    from pipelines.console import stderr

    folder = _folder()
    if not end_stack(folder, lambda line: stderr.print(f"  {line}")):
        stderr.print(f"nothing of a stack ran in {folder}")


def doctor(store: Store = None, tracking_uri: TrackingUri = None, as_json: AsJson = False) -> None:
    """Examine versions, disk, stack, storage, tracking and Ray: write to each and read back; status 1 if one fails."""
    from pipelines.console import stderr, stdout
    from pipelines.doctor import examine
    from rlq_ray.errors import ServiceError

    findings = []
    for finding in examine(store, tracking_uri):
        findings.append(finding)
        if not as_json:
            word = "[green]well[/green]" if finding.is_well else "[red]FAILS[/red]"
            stdout.print(f"{word:<18} {finding.name:<9} ", end="")
            stdout.print(finding.text, markup=False)
        else:
            stderr.print(f"  {finding.name}")
    if as_json:
        print_json([vars(finding) for finding in findings])
    if bad := [finding.name for finding in findings if not finding.is_well]:
        raise ServiceError(f"not everything is well: {', '.join(bad)}; what each line says mends it")


STACK_COMMANDS: dict[str, Any] = {"up": up, "status": status, "down": down, "doctor": doctor}
"""The commands by name; they look for the stack themselves."""


def _folder() -> Path:
    from cluster.stack.card import stack_folder
    from rlq_ray.errors import UsageError

    folder = stack_folder()
    if folder is None:
        raise UsageError("RLQ_STACK=none leaves every stack aside: unset it, or name the stack's folder")
    return folder


def _addresses(card: StackCard) -> dict[str, str]:
    return {
        "mlflow": card.tracking_uri,
        "dashboard": card.dashboard_url,
        "s3": card.s3_endpoint,
        "ray": card.ray_address,
        "storage": card.storage_uri,
        "metrics": card.metrics_url,
        "credentials": str(card.credentials_path),
        "ray_token": str(card.token_path),
    }


def _print_addresses(card: StackCard) -> None:
    from pipelines.console import stdout

    stdout.print(f"MLflow UI      [bold]{card.tracking_uri}[/bold]  user and password: MLFLOW_TRACKING_* below")
    stdout.print(f"Ray dashboard  [bold]{card.dashboard_url}[/bold]  token: {card.token_path}")
    stdout.print(f"S3             [bold]{card.s3_endpoint}[/bold]  bucket {card.storage_uri}, keys: AWS_* below")
    stdout.print(f"Metrics        [bold]{card.metrics_url}[/bold]  for Prometheus; rlq cluster grafana draws them")
    stdout.print(f"Keys           {card.credentials_path}")
    stdout.print("Commands called in this folder use all this; next: [bold]rlq demo[/bold], or rlq doctor")
