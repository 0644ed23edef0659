"""The commands about jobs of a cluster: `rlq submit`, `rlq jobs`, `rlq logs` and `rlq stop`."""

from __future__ import annotations

import getpass
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from pipelines.cli_options import AsJson, print_json
from rlq_ray.errors import UsageError

if TYPE_CHECKING:
    from cluster.jobs.dashboard import Dashboard
    from cluster.jobs.desk import JobDesk
    from cluster.jobs.record import JobRecord

INTERRUPTED = 130
HERE_ONLY = {"submit", "jobs", "logs", "stop", "up", "down", "status", "doctor", "ui", "cluster"}
"""Commands that make no sense as jobs."""

jobs_app = typer.Typer()

Address = Annotated[
    str | None, typer.Option(help="Dashboard of the cluster, http://HOST:8265. [env: RAY_ADDRESS; that of `rlq up`]")
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job, as `rlq jobs` lists it.")]


@jobs_app.command(context_settings={"allow_interspersed_args": False})
def submit(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND …", help="As after `rlq`, such as: train rlq")],
    wait: Annotated[bool, typer.Option("--wait", help="Show what it writes, and end with its exit status.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Even if the same is under way.")] = False,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Send uncommitted files, too.")] = False,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Run a command as a job on a Ray cluster, with the code of this commit; prints the job's id at once."""
    from cluster.jobs.request import JobRequest, check_command, places_to_send
    from cluster.jobs.wheel import build_wheel
    from cluster.stack.card import read_stack, stack_folder
    from pipelines.console import stderr
    from rlq_ray.build_stamp import SHORT

    _check_name(context, command[0])
    check_command(tuple(command), os.environ)
    card = read_stack(stack_folder())
    known_there = (card.storage_uri, card.tracking_uri) if card else ()
    places = places_to_send(os.environ, known_there)
    wheel = build_wheel(allow_dirty=allow_dirty)
    dashboard, desk = _open_desk(address)
    request = JobRequest(tuple(command), _user(), wheel.stamp, places)
    job_id = desk.submit(request, wheel, again=again)
    if not as_json:
        sys.stdout.write(f"{job_id}\n")
        sys.stdout.flush()
    commit = f"commit {wheel.stamp.commit[:SHORT]}" if wheel.stamp.commit else f"version {wheel.stamp.version}"
    stderr.print(
        f"job {job_id} at {dashboard.url} · {commit}{', changed' if wheel.stamp.dirty else ''} · "
        f"code {wheel.stamp.content_hash[:SHORT]}, {len(wheel.content) / 2**20:.1f} MB"
    )
    if wait:
        _follow_to_end(desk, job_id, as_json)
    if as_json:
        print_json(desk.find(job_id).to_json())
    else:
        stderr.print(f"follow it by `rlq logs {job_id} --follow`, end it by `rlq stop {job_id}`")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"uid {os.getuid()}"


def _check_name(context: typer.Context, name: str) -> None:
    commands: Any = context.find_root().command
    known = sorted(set(commands.commands) - HERE_ONLY)
    if name not in known:
        raise UsageError(f"'{name}' is no command for a job: give one of {', '.join(known)}")


def _follow_to_end(desk: JobDesk, job_id: str, as_json: bool) -> NoReturn:
    """Show what a job writes, and end this process with its exit status."""
    try:
        job = desk.follow(job_id, _writer(to_stderr=as_json))
    except KeyboardInterrupt:
        sys.stderr.write(
            f"\nerror: interrupted, and job {job_id} goes on: follow it by `rlq logs {job_id} --follow`, "
            f"end it by `rlq stop {job_id}`\n"
        )
        sys.exit(INTERRUPTED)
    if as_json:
        print_json(job.to_json())
    if job.exit_status and job.exit_code is None:
        sys.stderr.write(f"error: job {job_id} {_reason(job)}\n")
    sys.exit(job.exit_status)


def _reason(job: JobRecord) -> str:
    if job.state == "stopped":
        return "was stopped: submit it again to go on"
    lines = [line.strip() for line in job.message.splitlines() if line.strip()]
    return f"did not begin ({lines[-1] if lines else job.state}): see the logs of Ray's head"


def _writer(*, to_stderr: bool = False) -> Any:
    stream = sys.stderr if to_stderr else sys.stdout

    def write(text: str) -> None:
        stream.write(text)
        stream.flush()

    return write


@jobs_app.command()
def jobs(address: Address = None, as_json: AsJson = False) -> None:
    """List the jobs of a cluster, the latest first."""
    from pipelines.console import stdout
    from pipelines.jobs_view import jobs_table

    _, desk = _open_desk(address)
    found = desk.all()
    if as_json:
        print_json({"jobs": [job.to_json() for job in found]})
    elif found:
        stdout.print(jobs_table(found))
    else:
        stdout.print("no jobs yet: `rlq submit -- COMMAND` begins one")


@jobs_app.command()
def logs(
    job: JobId,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until the job ends, and end with its status.")
    ] = False,
    address: Address = None,
) -> None:
    """Show what a job has written."""
    _, desk = _open_desk(address)
    if follow:
        _follow_to_end(desk, job, as_json=False)
    _writer()(desk.logs(job))


@jobs_app.command()
def stop(job: JobId, address: Address = None, as_json: AsJson = False) -> None:
    """Stop a job and wait for its end: its run is closed, and its checkpoints stay."""
    from pipelines.console import stderr, stdout

    _, desk = _open_desk(address)
    stderr.print(f"stopping {job} …")
    ended = desk.stop(job)
    if as_json:
        print_json(ended.to_json())
    else:
        stdout.print(f"job {job}: {ended.state}")


def _open_desk(address: str | None) -> tuple[Dashboard, JobDesk]:
    from cluster.jobs.dashboard import connect, find_dashboard
    from cluster.jobs.desk import JobDesk
    from cluster.stack.card import read_stack, stack_folder

    dashboard = find_dashboard(address, read_stack(stack_folder()), os.environ)
    return dashboard, JobDesk(connect(dashboard))
