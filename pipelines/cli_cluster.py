"""The commands about clusters elsewhere: `rlq cluster render` makes their manifests; the others run on their nodes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli_options import AsJson, Overrides, print_json
from rlq_ray.errors import UsageError

TARGETS = ("kuberay", "aws", "slurm")

cluster_app = typer.Typer(help="Make clusters elsewhere, and keep their nodes in order.", no_args_is_help=True)


@cluster_app.command("render")
def render(
    target: Annotated[str, typer.Option(help=f"What is to make the cluster: {', '.join(TARGETS)}.")],
    overrides: Overrides = None,
    description: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="A shipped description, or a .toml file.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the file; by default it is printed.")] = None,
) -> None:
    """Make the manifest of a cluster from its description: for KubeRay, Ray's launcher on AWS, or Slurm."""
    from cluster.manifests.render import render as render_manifest
    from pipelines.cluster_file import read_description

    if target not in TARGETS:
        raise UsageError(f"there is no target '{target}': choose one of {', '.join(TARGETS)}")
    command = ["rlq", "cluster", "render", "--target", target]
    command += ["--description", description] if description else []
    command += overrides or []
    manifest = render_manifest(target, read_description(description, overrides or []), command)  # type: ignore[arg-type]
    if out is None:
        sys.stdout.write(manifest.text)
    else:
        _write(out / manifest.file_name, manifest.text, is_program=manifest.is_program)


@cluster_app.command("grafana")
def grafana(
    out: Annotated[Path | None, typer.Option(help="File to write; by default it is printed.")] = None,
) -> None:
    """Make a Grafana dashboard of trainings: speed, time by phase, waiting for data, step ratio, nodes."""
    from cluster.grafana import dashboard_json

    if out is None:
        sys.stdout.write(dashboard_json())
    else:
        _write(out, dashboard_json())


@cluster_app.command("wait")
def wait(
    nodes: Annotated[int, typer.Option(min=1, help="Nodes that must take work.")],
    cpus: Annotated[int, typer.Option(min=1, help="CPUs that each must have.")] = 1,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs that each must have.")] = 0,
    timeout_s: Annotated[float, typer.Option(help="Seconds after which waiting is given up.")] = 900,
    as_json: AsJson = False,
) -> None:
    """Ask the cluster's autoscaler for nodes, if it has one, and wait until there are enough."""
    from cluster.membership import wait_for_nodes
    from pipelines.console import stderr

    found = wait_for_nodes(nodes, timeout_s, cpus=cpus, gpus=gpus)
    if as_json:
        print_json({"nodes": found})
        return
    stderr.print(f"{found} nodes take work")


@cluster_app.command("leave")
def leave(
    within_s: Annotated[float, typer.Option(min=1, help="Seconds until the machine ends.")],
    as_json: AsJson = False,
) -> None:
    """Tell Ray that this machine is taken back, and wait until its work has left it or the time is up."""
    from cluster.membership import leave as leave_cluster

    _tell_left(leave_cluster(within_s), as_json)


@cluster_app.command("watch-spot")
def watch_spot(as_json: AsJson = False) -> None:
    """Wait on an EC2 spot instance for Amazon's notice, then do what `leave` does."""
    from cluster.membership import leave as leave_cluster
    from cluster.spot import wait_for_notice

    _tell_left(leave_cluster(wait_for_notice()), as_json)


def _tell_left(nodes: list[str], as_json: bool) -> None:
    from pipelines.console import stderr

    if as_json:
        print_json({"left": nodes})
        return
    stderr.print(f"left Ray: {', '.join(nodes)}" if nodes else "this machine has no node of Ray that could leave")


def _write(path: Path, text: str, *, is_program: bool = False) -> None:
    from pipelines.console import stderr

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if is_program:
            path.chmod(0o755)
    except OSError as error:
        raise UsageError(f"--out: cannot write {path} ({error.strerror}): give another place") from error
    stderr.print(f"wrote {path}")
