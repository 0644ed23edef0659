"""The `rlq` command: arguments, wiring, and one line for every error."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from rlq_ray.errors import RlqError, UsageError

app = typer.Typer(
    help="Train clothes-changing person re-identification that survives low-quality images, on a Ray cluster.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
people_app = typer.Typer(help="The rendered data set.", no_args_is_help=True)
data_app = typer.Typer(help="Data sets: from folders to Arrow shards, and what is in them.", no_args_is_help=True)
poses_app = typer.Typer(help="Pose clusters.", no_args_is_help=True)
models_app = typer.Typer(help="Models from elsewhere.", no_args_is_help=True)
degrade_app = typer.Typer(help="Synthetic low quality.", no_args_is_help=True)
for _name, _app in (("people", people_app), ("data", data_app), ("poses", poses_app), ("degrade", degrade_app)):
    app.add_typer(_app, name=_name)
app.add_typer(models_app, name="models")

CommandLineError: Any = typer.BadParameter.__mro__[2]
"""What typer raises for any wrong use; it is click's ClickException, in a copy that typer does not publish."""

INTERRUPTED = 130

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Store = Annotated[str | None, typer.Option(help="URI for runs and checkpoints. [env: RLQ_STORAGE; ./rlq-data]")]
TrackingUri = Annotated[
    str | None, typer.Option(help="MLflow store. [env: RLQ_TRACKING_URI, MLFLOW_TRACKING_URI; ./rlq-data/mlflow.db]")
]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]…", help="Settings, such as train.epochs=9")]


@app.callback()
def options(debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False) -> None:
    """Train clothes-changing person re-identification that survives low-quality images, on a Ray cluster."""
    if debug:
        os.environ["RLQ_DEBUG"] = "1"


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
        _print_json({"models": scores_as_json(result.evaluations), "gains": result.gains, "run": result.parent_run_id})
        return
    stdout.print(results_table(result.evaluations, "Test identities, scores in percent (95 % intervals)"))
    for gain in result.gains:
        stdout.print(f"RLQ against base, {gain}")
    stdout.print(f"Pictures: {result.pictures}")
    stdout.print(f"Runs, curves and models in the MLflow UI: [bold]{_ui_command(places.tracking_uri)}[/bold]")


@people_app.command("render")
def render(
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    preset: Annotated[str, typer.Option(help="tiny, small, default or hard.")] = "small",
    population: Annotated[str, typer.Option(help="target or external: other people, other cameras.")] = "target",
    seed: Annotated[int, typer.Option(help="Other seeds give other people.")] = 0,
) -> None:
    """Render people in the LTCC folder layout, with masks, keypoints and genders."""
    from cluster.ray_local import session
    from pipelines.console import stage
    from pipelines.render import population_named, preset_named, render_people

    preset_named(preset)
    with session(), stage(f"render people: {preset}, {population}"):
        render_people(out, preset, population=population_named(population), seed=seed)


@data_app.command("ingest")
def ingest(
    layout: Annotated[str, typer.Option(help="Layout of the folder, such as ltcc.")],
    root: Annotated[Path, typer.Option(help="The folder.")],
    to: Annotated[str, typer.Option(help="URI of the data set to write.")],
    gender: Annotated[Path | None, typer.Option(help="CSV: Category,ID,Gender.")] = None,
    poses: Annotated[Path | None, typer.Option(help="CSV of pose clusters.")] = None,
    keypoints: Annotated[Path | None, typer.Option(help="AlphaPose JSON; clusters are fitted to it.")] = None,
    masks: Annotated[Path | None, typer.Option(help="Folder of clothes masks.")] = None,
    centroids: Annotated[
        str | None,
        typer.Option(help="JSON of `rlq poses cluster`, or URI of a data set: assign its clusters, fit none."),
    ] = None,
    k: Annotated[int | None, typer.Option(help="Number of pose clusters. [15, or that of --centroids]")] = None,
    variant: Annotated[
        str | None,
        typer.Option(help="R_LA, R_A, R_LAC; of --poses also N_LA, N_A, N_LAC. [R_LA, or that of --centroids]"),
    ] = None,
    partial: Annotated[bool, typer.Option(help="Accept side files that cover fewer than 95 % of the images.")] = False,
    accept_license: Annotated[
        str | None,
        typer.Option(
            help="The owner's licence that you accepted, for the manifest. A layout does not tell whose images they "
            "are, so it is not required; without it a note is printed, but for rendered people and layout generic."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set; by default that of the folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Turn a folder and its side files into Arrow shards with a manifest."""
    from cluster.ray_local import session
    from pipelines.console import stage, stdout
    from pipelines.ingest import ingest_folder, side_files_of

    side = side_files_of(gender, poses, keypoints, masks, centroids=centroids, k=k, variant=variant, partial=partial)
    with session(), stage(f"ingest {root} as {layout}"):
        manifest = ingest_folder(
            root, layout, to, name=name or root.absolute().name, side_files=side, licence=accept_license
        )
    if as_json:
        _print_json(manifest.model_dump(mode="json"))
        return
    for split, counts in manifest.splits.items():
        stdout.print(
            f"{split}: {counts.images} images, {counts.identities} identities, {counts.clothes} clothes, "
            f"{counts.cameras} cameras"
        )
    stdout.print(f"data set {manifest.content_hash[:12]} at {to}")


@data_app.command("check")
def check(
    data: Annotated[str, typer.Argument(metavar="URI|DIR", help="A data set, or a raw folder with --layout.")],
    layout: Annotated[str | None, typer.Option(help="Layout of a raw folder, such as ltcc.")] = None,
    gender: Annotated[Path | None, typer.Option(help="CSV: Category,ID,Gender.")] = None,
    poses: Annotated[Path | None, typer.Option(help="CSV of pose clusters.")] = None,
    keypoints: Annotated[Path | None, typer.Option(help="AlphaPose JSON.")] = None,
    masks: Annotated[Path | None, typer.Option(help="Folder of clothes masks.")] = None,
    k: Annotated[int, typer.Option(help="Pose clusters in --poses.")] = 15,
    variant: Annotated[str, typer.Option(help="Pose vector of --poses: R_LA, R_A or R_LAC.")] = "R_LA",
    published: Annotated[
        str, typer.Option(help="Published sizes to compare: a name, none, or auto if the counts are near the layout's.")
    ] = "auto",
    as_json: AsJson = False,
) -> None:
    """Find what is wrong with a data set before anything is trained on it; exit status 1 if there is something."""
    from cluster.ray_local import session
    from pipelines.check import check as run_check
    from pipelines.check import plan_check
    from pipelines.check_view import report_view
    from pipelines.console import stage, stdout
    from pipelines.ingest import side_files_of

    side = side_files_of(gender, poses, keypoints, masks, k=k, variant=variant, partial=True)
    preflight = plan_check(data, layout=layout, published=published, side_files=side)
    with session(), stage(f"check {data}"):
        report = run_check(preflight)
    if as_json:
        _print_json(report.model_dump(mode="json"))
    else:
        stdout.print(report_view(report), soft_wrap=False)
    if not report.sound:
        raise typer.Exit(1)


@data_app.command("show")
def show(
    uri: Annotated[str, typer.Argument(help="URI of a data set.")],
    out: Annotated[Path, typer.Option(help="PNG to write.")],
    split: Annotated[str, typer.Option(help="train, val, query or gallery.")] = "train",
) -> None:
    """Draw a contact sheet: identities in rows, outfits in columns."""
    from pipelines.console import stdout
    from pipelines.pictures import sheet_of

    sheet_of(uri, split).save(_png(out))
    stdout.print(f"wrote {out}")


@data_app.command("forget")
def forget(
    uri: Annotated[str, typer.Argument(help="URI of a data set.")],
    pid: Annotated[str, typer.Option(help="The identity, as the data set names it.")],
) -> None:
    """Rewrite a data set without one identity, delete the old shards, and read all back to prove it."""
    from pipelines.console import stage, stdout
    from pipelines.erasure import report_lines
    from rlq_ray.data.forget import forget_identity

    with stage(f"forget {pid} in {uri}"):
        forgotten = forget_identity(uri, pid)
    for line in report_lines(forgotten, uri):
        stdout.print(line)


@poses_app.command("cluster")
def cluster(
    keypoints: Annotated[Path, typer.Option(help="AlphaPose JSON.")],
    root: Annotated[Path, typer.Option(help="Folder of the images.")],
    layout: Annotated[str, typer.Option(help="Layout of the folder, such as ltcc.")],
    out: Annotated[Path, typer.Option(help="CSV to write; the centroids go to OUT.centroids.json.")],
    k: Annotated[int, typer.Option(help="Number of clusters.")] = 15,
    variant: Annotated[str, typer.Option(help="Pose vector: R_LA, R_A or R_LAC.")] = "R_LA",
    every: Annotated[bool, typer.Option("--all", help="All variants, each with 5, 10, … 40 clusters.")] = False,
    partial: Annotated[bool, typer.Option(help="Accept skeletons of fewer than 95 % of the images.")] = False,
) -> None:
    """Find pose clusters of the training images, and say to which of them every image belongs."""
    from cluster.ray_local import session
    from pipelines.console import stage, stdout
    from pipelines.ingest import pose_variant
    from pipelines.poses import ALL_COLUMNS, centroids_file, cluster_folder

    columns = ALL_COLUMNS if every else ((pose_variant(variant), k),)
    with session(), stage(f"cluster the poses of {root}"):
        cluster_folder(root, layout, keypoints, out, columns=columns, partial=partial)
    stdout.print(f"wrote {out} and {centroids_file(out)}")


@degrade_app.command("preview")
def preview(
    images: Annotated[list[Path], typer.Argument(help="Images.")],
    out: Annotated[Path, typer.Option(help="PNG to write; with several images, a name for each is derived.")],
) -> None:
    """Draw what each artefact does at each severity."""
    from pipelines.console import stdout
    from pipelines.pictures import preview_degradations

    for target in preview_degradations(images, _png(out)):
        stdout.print(f"wrote {target}")


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped recipe, or a .toml file.")],
    overrides: Overrides = None,
    name: Annotated[str | None, typer.Option(help="Name of the run, used once; by default that of the recipe.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the run of that name.")] = False,
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

    settings = [*(overrides or []), *([f"workers.count={workers}"] if workers else [])]
    config = read_experiment(recipe, settings)
    preflight(config)
    places = find_places(store=store, tracking_uri=tracking_uri)
    run_name = name or config.name
    with session(places.ray_address), stage(f"train {run_name}"):
        entry = train_run(config, places, name=run_name, resume=resume)
    if as_json:
        _print_json({"run": entry.name, "mlflow_run_id": entry.mlflow_run_id, "checkpoint": entry.checkpoint,
                     "epoch": entry.epoch, "metrics": entry.metrics})  # fmt: skip
        return
    stdout.print(f"run {entry.name} · MLflow {entry.mlflow_run_id}")
    for metric in ("top1", "mAP"):
        value = entry.metrics.get(f"validation/hq/{config.evaluate.select_on}/{metric}")
        if value is not None:
            stdout.print(f"validation {config.evaluate.select_on} {metric}: {100 * value:.1f} % (epoch {entry.epoch})")
    stdout.print(f"checkpoint {entry.checkpoint}")
    stdout.print(f"next: rlq evaluate {entry.name} --data {config.data.target}")


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
        _print_json(scores_as_json({label: evaluation}))
        return
    stdout.print(results_table({label: evaluation}, "Test identities, scores in percent (95 % intervals)"))


@models_app.command("import")
def import_model(
    authors: Annotated[Path, typer.Option(help="The .pth.tar that the authors of RLQ released.")],
    out: Annotated[str, typer.Option(help="URI of the checkpoint to write.")],
    data: Annotated[str | None, typer.Option(help="URI of the data set it was trained on: names its classes.")] = None,
    as_json: AsJson = False,
) -> None:
    """Turn released weights into a checkpoint, to evaluate or to teach with; every tensor is accounted for."""
    from pipelines.console import stage, stdout
    from pipelines.models import import_released, summary_lines

    with stage(f"import {authors}"):
        imported = import_released(authors, out, data=data)
    if as_json:
        _print_json(imported)
        return
    for line in summary_lines(imported):
        stdout.print(line)


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
    stderr.print("starting the MLflow UI …")
    serve_ui(uri, host, port, lambda address: stderr.print(f"MLflow UI at [bold]{address}[/bold] (Ctrl-C ends it)"))


def main() -> None:
    """Run the command line; errors of the user's making become one line."""
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
    if status == INTERRUPTED:
        _fail("interrupted: go on by calling `rlq demo` again, or `rlq train` with --resume", INTERRUPTED)
    sys.exit(status or 0)


def _fail(message: str, status: int) -> NoReturn:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    sys.exit(status)


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def _png(out: Path) -> Path:
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out} is no PNG: give a name that ends with .png")
    out.parent.mkdir(parents=True, exist_ok=True)
    return out


def _ui_command(tracking_uri: str) -> str:
    from pipelines.places import find_places

    return "rlq ui" if tracking_uri == find_places().tracking_uri else f"rlq ui --tracking-uri {tracking_uri}"


if __name__ == "__main__":
    main()
