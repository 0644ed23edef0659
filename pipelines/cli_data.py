"""The commands about data and models on disk: `rlq people`, `data`, `poses`, `degrade` and `models`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli_options import AsJson, png_path, print_json

people_app = typer.Typer(help="The rendered data set.", no_args_is_help=True)
data_app = typer.Typer(help="Data sets: from folders to Arrow shards, and what is in them.", no_args_is_help=True)
poses_app = typer.Typer(help="Pose clusters.", no_args_is_help=True)
degrade_app = typer.Typer(help="Synthetic low quality.", no_args_is_help=True)
models_app = typer.Typer(help="Models from elsewhere.", no_args_is_help=True)

GROUPS = {"people": people_app, "data": data_app, "poses": poses_app, "degrade": degrade_app, "models": models_app}
"""The groups of commands, by name."""


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
        print_json(manifest.model_dump(mode="json"))
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
        print_json(report.model_dump(mode="json"))
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

    sheet_of(uri, split).save(png_path(out))
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

    for target in preview_degradations(images, png_path(out)):
        stdout.print(f"wrote {target}")


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
        print_json(imported)
        return
    for line in summary_lines(imported):
        stdout.print(line)
