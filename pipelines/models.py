"""Models from elsewhere as checkpoints of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.recipe import read_experiment
from rlq_ray.data import DataSet, class_space
from rlq_ray.errors import DataError
from rlq_ray.models import ReleasedModel, convert_released, name_classes, number_classes, read_released, recolourings_of
from rlq_ray.storage import locate
from rlq_ray.train.checkpoint import CheckpointCard, put_checkpoint
from rlq_ray.types import ClassSpace

NO_DATA = "file:///unknown"
"""Stands for a data set that was not named; a card without `data_hash` says that nothing is there."""


def import_released(authors: Path, out: str, *, data: str | None = None) -> dict[str, Any]:
    """Write the authors' released weights as a checkpoint, and tell what was found in them.

    It serves inference and teaching, and to start from: the file holds no optimiser, so no training goes on from it.
    Its configuration is the recipe of the same branches. The clothes classifier's rows are kept beside the network, in
    the state's `clothes`.

    Raises:
        UsageError: there is no such file, or `out` is taken.
        CheckpointError: the file is not the authors', is damaged, or does not fit the data set.
        DataError, StorageError: the data set, or a place, cannot be used.
    """
    place = locate(out)
    released = convert_released(read_released(authors))
    card = _card(released, data)
    clothes = {"classifier": {"weight": released.clothes_weight_CD}}
    put_checkpoint(place, card, {"network": released.network, "clothes": clothes})
    rows = len(released.clothes_weight_CD)
    return {
        **released.numbers,
        "checkpoint": place.uri,
        "branches": ["clothes", "identity", *(["pose"] if released.config.pose_branch else [])],
        "identities": released.num_identities,
        "pose_clusters": released.pose_clusters,
        "clothes_rows": rows,
        "outfits": len(card.classes.clothes),
        "recolourings": recolourings_of(rows, released.num_identities),
        "data": locate(data).uri if data else None,
    }


def _card(released: ReleasedModel, data: str | None) -> CheckpointCard:
    classes, data_hash = _classes_of(released, data) if data else (number_classes(released), "")
    recipe = read_experiment(
        "cap" if released.config.pose_branch else "base", [f"data.target={locate(data).uri if data else NO_DATA}"]
    )
    return CheckpointCard(
        config=recipe.model_copy(update={"model": released.config}),
        classes=classes,
        data_hash=data_hash,
        epoch=int(released.numbers.get("epoch", 0)),
        step=0,
        metrics=released.numbers,
    )


def _classes_of(released: ReleasedModel, data: str) -> tuple[ClassSpace, str]:
    dataset = DataSet.open(locate(data).uri)
    rows = dataset.index.rows_of_split("train")
    if not len(rows):
        raise DataError(f"{data} has no split 'train': name the data set that the weights were trained on")
    trained_on = class_space(dataset.index, rows, pose_clusters=released.pose_clusters)
    classes = name_classes(released, trained_on, layout=dataset.manifest.layout, source=data)
    return classes, dataset.manifest.content_hash


def summary_lines(imported: dict[str, Any]) -> list[str]:
    """Say what was found, and where it is."""
    clusters = f", {imported['pose_clusters']} pose clusters" if imported["pose_clusters"] else ""
    recoloured = f" and {imported['recolourings']} recolourings of each identity" if imported["recolourings"] else ""
    lines = [
        f"branches {', '.join(imported['branches'])}: {imported['identities']} identities{clusters}",
        f"clothes classifier of {imported['clothes_rows']} rows: {imported['outfits']} outfits{recoloured}",
    ]
    if "epoch" in imported:
        lines.append(f"epoch {imported['epoch']:.0f}, counted from 0")
    if "rank1" in imported:
        lines.append(f"rank 1 as the authors measured it: {100 * imported['rank1']:.1f} %")
    lines.append(f"checkpoint {imported['checkpoint']}")
    lines.append(f"next: rlq evaluate {imported['checkpoint']} --data {imported['data'] or 'URI'}")
    return lines
