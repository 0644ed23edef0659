"""The `rlq` command: arguments, wiring, and one line for every error."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from pipelines.cli_cluster import cluster_app
from pipelines.cli_data import GROUPS
from pipelines.cli_jobs import jobs_app
from pipelines.cli_options import AsJson, Overrides, Store, TrackingUri, print_json
from pipelines.cli_plan import plan
from pipelines.cli_report import report, report_command
from pipelines.cli_stack import STACK_COMMANDS
from pipelines.cli_sweep import sweep_app
from pipelines.stack_use import take_up_stack
from rlq_ray.errors import RlqError, UsageError

app = typer.Typer(
    help="Train clothes-changing person re-identification that survives low-quality images, on a Ray cluster.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for _name, _group in {**GROUPS, "sweep": sweep_app, "cluster": cluster_app}.items():
    app.add_typer(_group, name=_name)
for _name, _command in STACK_COMMANDS.items():
    app.command(_name)(_command)
app.add_typer(jobs_app)  # without a name: its commands are among the others

app.command()(plan)
app.command()(report)

CommandLineError: Any = typer.BadParameter.__mro__[2]
"""What typer raises for any wrong use; it is click's ClickException, in a copy that typer does not publish."""

INTERRUPTED, TERMINATED = 130, 143
"""Statuses of a command that was ended by Ctrl-C and by SIGTERM, as a shell gives them."""


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Train clothes-changing person re-identification that survives low-quality images, on a Ray cluster."""
    if debug:
        os.environ["RLQ_DEBUG"] = "1"
        os.environ["TUNE_PRINT_ALL_TRIAL_ERRORS"] = "1"  # also of trainings that a sweep takes up again
    if context.invoked_subcommand not in STACK_COMMANDS and "--help" not in sys.argv:
        take_up_stack()


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that the demo makes.")] = Path("rlq-data"),
    preset: Annotated[str, typer.Option(help="small, or tiny to try the machinery.")] = "small",
    seed: Annotated[int, typer.Option(help="Of people and trainings.")] = 0,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Settings of all trainings, KEY=VALUE.")] = None,
    as_json: AsJson = False,
) -> None:
    """Do the whole job on rendered people: render, ingest, train, evaluate, track. About 9 minutes on 2 cores."""
    from pipelines.console import stdout
    from pipelines.demo import SIZES, run_demo
    from pipelines.evaluate import as_json as scores_as_json
    from pipelines.evaluate import results_table
    from pipelines.places import find_places

    if preset not in SIZES:
        raise UsageError(f"the demo has no preset '{preset}': choose one of {', '.join(SIZES)}")
    places = find_places(home=out)
    result = run_demo(out, places, size=SIZES[preset], seed=seed, overrides=overrides or [])
    if as_json:
        print_json({"models": scores_as_json(result.evaluations), "gains": result.gains, "run": result.parent_run_id})
        return
    stdout.print(results_table(result.evaluations, "Test identities, scores in percent (95 % intervals)"))
    for gain in result.gains:
        stdout.print(f"RLQ against base, {gain}")
    stdout.print(f"Pictures: {result.pictures}")
    stdout.print(f"Runs, curves and models in the MLflow UI: [bold]{_ui_command(places.tracking_uri)}[/bold]")


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe, or a .toml file.")],
    overrides: Overrides = None,
    name: Annotated[str | None, typer.Option(help="Name of the run, used once; by default that of the recipe.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the run of that name.")] = False,
    resume_or_begin: Annotated[
        bool, typer.Option("--resume-or-begin", help="Go on with the run of that name if there is one.")
    ] = False,
    workers: Annotated[int | None, typer.Option(help="Ray Train workers.")] = None,
    store: Store = None,
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
) -> None:
    """Train once through Ray Train; prints run, validation metrics and checkpoint."""
    from cluster.ray_local import session
    from pipelines.console import stage, stdout
    from pipelines.places import find_places
    from pipelines.recipe import read_experiment
    from pipelines.train import preflight
    from pipelines.train import train as train_run
    from rlq_ray.distributed.runs import find_run

    settings = [*(overrides or []), *([f"workers.count={workers}"] if workers else [])]
    config = read_experiment(recipe, settings)
    preflight(config)
    places = find_places(store=store, tracking_uri=tracking_uri)
    run_name = name or config.name
    resume = resume or (resume_or_begin and find_run(places.store, run_name) is not None)
    with session(places.ray_address), stage(f"train {run_name}"):
        entry = train_run(config, places, name=run_name, resume=resume)
    if as_json:
        print_json({"run": entry.name, "mlflow_run_id": entry.mlflow_run_id, "checkpoint": entry.checkpoint,
                     "epoch": entry.epoch, "metrics": entry.metrics})  # fmt: skip
        return
    stdout.print(f"run {entry.name} · MLflow {entry.mlflow_run_id}")
    for metric in ("top1", "mAP"):
        value = entry.metrics.get(f"validation/hq/{config.evaluate.select_on}/{metric}")
        if value is not None:
            stdout.print(f"validation {config.evaluate.select_on} {metric}: {100 * value:.1f} % (epoch {entry.epoch})")
    stdout.print(f"checkpoint {entry.checkpoint}")
    stdout.print(f"next: rlq evaluate {entry.name} --data {config.data.target}")
    stdout.print(f"report: {report_command(entry.name, store, tracking_uri)}")


@app.command()
def experiment(
    name: Annotated[str, typer.Argument(help="Name of a shipped experiment, or a .toml file.")],
    overrides: Overrides = None,
    rows: Annotated[list[str] | None, typer.Option("--row", help="Train this row only; can be repeated.")] = None,
    seeds: Annotated[list[int] | None, typer.Option("--seed", help="Train with this seed; can be repeated.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for images and the report.")] = Path("rlq-data"),
    store: Store = None,
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
) -> None:
    """Train every row of a table with several seeds, and report them with intervals; a second call goes on."""
    from pipelines.console import stdout
    from pipelines.experiment import report_folder, run_experiment
    from pipelines.experiment_file import read_experiment_file
    from pipelines.experiment_table import ExperimentRun
    from pipelines.experiment_view import as_tables
    from pipelines.places import find_places

    file = read_experiment_file(name)
    chosen = tuple(file.row(row).key for row in rows) if rows else tuple(row.key for row in file.rows)
    places = find_places(store=store, tracking_uri=tracking_uri, home=out)
    run = ExperimentRun(file, places, out, chosen, tuple(seeds or file.seeds), tuple(overrides or ()))
    report = run_experiment(run)
    if as_json:
        print_json(report)
        return
    for table in as_tables(report):
        stdout.print(table)
    stdout.print(f"Report: {report_folder(run)}")


@app.command()
def evaluate(
    model: Annotated[str | None, typer.Argument(help="Name of a run, or URI of a checkpoint.")] = None,
    data: Annotated[str | None, typer.Option(help="URI of a data set; by default the one trained on.")] = None,
    protocol: Annotated[list[str] | None, typer.Option(help="general, cc or sc; by default all.")] = None,
    quality: Annotated[
        str,
        typer.Option(help="Of the queries: hq, lq, an artefact such as motion or motion-severe, or all = hq and lq."),
    ] = "all",
    features: Annotated[Path | None, typer.Option(help="npz with features of any model, instead of a model.")] = None,
    workers: Annotated[int | None, typer.Option(help="Ray actors that compute features.")] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model on the test identities: CMC, mAP, mINP with 95 % intervals."""
    from pipelines.console import stdout
    from pipelines.evaluate import as_json as scores_as_json
    from pipelines.evaluate import evaluate_file, evaluate_model, results_table
    from pipelines.places import find_places

    if (model is None) == (features is None):
        raise UsageError("give either a run or checkpoint, or --features FILE.npz")
    if features is not None:
        label, evaluation = features.name, evaluate_file(features, protocol)
    else:
        assert model is not None
        label = model
        evaluation = evaluate_model(
            find_places(store=store), model, data=data, protocols=protocol, quality=quality, workers=workers
        )
    if as_json:
        print_json(scores_as_json({label: evaluation}))
        return
    stdout.print(results_table({label: evaluation}, "Test identities, scores in percent (95 % intervals)"))


@app.command()
def ui(
    tracking_uri: TrackingUri = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 5000,
) -> None:
    """Open the MLflow UI on the current tracking store, until Ctrl-C."""
    from cluster.mlflow_server import serve_ui
    from pipelines.console import stderr
    from pipelines.places import find_places, require_store

    uri = require_store(find_places(tracking_uri=tracking_uri).tracking_uri)
    if uri.startswith(("http://", "https://")):
        stderr.print(f"MLflow UI at [bold]{uri}[/bold], the tracking server's own")
        return
    stderr.print("starting the MLflow UI …")
    serve_ui(uri, host, port, lambda address: stderr.print(f"MLflow UI at [bold]{address}[/bold] (Ctrl-C ends it)"))


@app.command()
def reap(
    address: Annotated[str | None, typer.Option(help="Of the Ray cluster, host:port. [env: RAY_ADDRESS]")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be freed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Free what drivers that are gone still hold of a Ray cluster, so that others do not wait for it."""
    from cluster.ray_local import session
    from cluster.reap import find_left, free
    from pipelines.console import stdout

    address = address or os.environ.get("RAY_ADDRESS")
    if not address:
        raise UsageError("no Ray cluster is named: give --address host:port, or set RAY_ADDRESS")
    with session(address) as found:
        left = find_left(found.address)
        for group in [] if dry_run else left:
            free(group)
    if as_json:
        print_json([asdict(group) for group in left])
        return
    for group in left:
        held = ", ".join(f"{amount:g} {kind}" for kind, amount in group.held.items())
        stdout.print(
            f"{'would free' if dry_run else 'freed'} {held} of job {group.job_id} ({group.command or 'unknown'})"
        )
    if not left:
        stdout.print("nothing is held by drivers that are gone")


def main() -> None:
    """Run the command line; errors of the user's making become one line, and so do Ctrl-C and SIGTERM."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        status = app(standalone_mode=False)  # typer turns Ctrl-C into a status
    except typer.Abort:
        status = INTERRUPTED
    except CommandLineError as error:
        if not error.format_message():  # no command was given, and the help is printed
            sys.exit(error.exit_code)
        _fail(f"{error.format_message().rstrip('.')}; see --help", error.exit_code)
    except RlqError as error:
        if os.environ.get("RLQ_DEBUG"):
            raise
        _fail(str(error), error.exit_status)
    except SystemExit as end:
        if end.code != TERMINATED:
            raise
        status = TERMINATED
    if status in (INTERRUPTED, TERMINATED):
        _fail(
            f"{'interrupted' if status == INTERRUPTED else 'stopped by SIGTERM'}: call `rlq demo` or `rlq experiment` "
            "again, `rlq train` with --resume, or `rlq sweep resume`, to go on",
            status,
        )
    sys.exit(status or 0)


def _terminate(_signal: int, _frame: object) -> NoReturn:
    """End as Ctrl-C does, with everything that is open closed on the way."""
    sys.exit(TERMINATED)


def _fail(message: str, status: int) -> NoReturn:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    sys.exit(status)


def _ui_command(tracking_uri: str) -> str:
    from pipelines.places import find_places

    return "rlq ui" if tracking_uri == find_places().tracking_uri else f"rlq ui --tracking-uri {tracking_uri}"


if __name__ == "__main__":
    main()
