"""How good trained models are on the test identities: features on the cluster, exact ranking here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from cluster.ray_local import session
from pipelines.console import counting
from pipelines.places import Places
from rlq_ray.config.load import build_config, to_dict
from rlq_ray.config.schema import ExperimentConfig, Quality
from rlq_ray.data import evaluation_rows, read_manifest
from rlq_ray.distributed.embedding import EmbeddingJob, embed_on_cluster
from rlq_ray.distributed.runs import resolve_checkpoint
from rlq_ray.errors import UsageError
from rlq_ray.evaluate import (
    BOOTSTRAP_SEED,
    PROTOCOLS,
    Evaluation,
    Labels,
    compare,
    evaluate_features,
    read_features,
)
from rlq_ray.storage import locate
from rlq_ray.train.build import open_data
from rlq_ray.train.checkpoint import read_card
from rlq_ray.train.features import labels_of

BOOTSTRAP_SAMPLES = 1000


@dataclass(frozen=True)
class TestFeatures:
    """What a model makes of the test images: features `(Q, D)` by quality, and `(G, D)` of the gallery as it is."""

    query_rows: npt.NDArray[np.int64]
    gallery_rows: npt.NDArray[np.int64]
    query: Labels
    gallery: Labels
    query_feats: dict[str, npt.NDArray[np.float32]] = field(repr=False)
    gallery_feat_GD: npt.NDArray[np.float32] = field(repr=False)


def embed_test(
    checkpoints: Mapping[str, str], data: str, config: ExperimentConfig, qualities: tuple[Quality, ...]
) -> dict[str, TestFeatures]:
    """Compute the test features of several models, by name, with workers shared among them.

    Raises:
        CheckpointError, DataError, StorageError: a checkpoint or the data cannot be used.
    """
    dataset = open_data(data, config.data)
    query_rows, gallery_rows = evaluation_rows(dataset.index, "test")
    query, gallery = labels_of(dataset.index, query_rows, gallery_rows)
    jobs = [
        EmbeddingJob(checkpoint, data, quality, config, rows)
        for checkpoint in checkpoints.values()
        for quality, rows in [("hq", gallery_rows), *((quality, query_rows) for quality in qualities)]
    ]
    with counting("features of query and gallery", len(jobs)) as advance:
        done = iter(embed_on_cluster(jobs, advance=advance))
    features = {}
    for name in checkpoints:
        gallery_feat_GD = next(done)
        query_feats: dict[str, npt.NDArray[np.float32]] = {quality: next(done) for quality in qualities}
        features[name] = TestFeatures(query_rows, gallery_rows, query, gallery, query_feats, gallery_feat_GD)
    return features


def evaluate(features: TestFeatures, config: ExperimentConfig) -> Evaluation:
    """Rank and score under the configured protocols."""
    query_feats: dict[str, npt.NDArray[np.generic]] = dict(features.query_feats)
    return evaluate_features(
        query_feats,
        features.gallery_feat_GD,
        features.query,
        features.gallery,
        protocols=config.evaluate.protocols,
        bootstrap_samples=config.evaluate.bootstrap_samples,
        seed=BOOTSTRAP_SEED,
    )


def evaluate_model(
    places: Places,
    model: str,
    *,
    data: str | None,
    protocols: list[str] | None,
    quality: str,
    workers: int | None,
) -> Evaluation:
    """Measure a run's best checkpoint, or a checkpoint by its URI, as it was configured unless told otherwise.

    Raises:
        CheckpointError, DataError, UsageError: something named cannot be used.
    """
    checkpoint = resolve_checkpoint(places.store, model)
    card = read_card(locate(checkpoint))
    if data is None and not card.data_hash:
        raise UsageError(f"{model} does not say which data set it was trained on: name one to measure on by --data URI")
    settings = to_dict(card.config)
    if protocols:
        settings["evaluate"] |= {"protocols": protocols, "select_on": protocols[0]}
    if quality != "all":
        settings["evaluate"]["qualities"] = [quality]
    settings["data"]["target"] = data or settings["data"]["target"]
    config = build_config(settings)
    if workers:  # a training's batches need not be shared out among them
        shared = config.workers.model_copy(update={"count": workers, "least": None})
        config = config.model_copy(update={"workers": shared})
    read_manifest(locate(config.data.target))
    with session(places.ray_address):
        features = embed_test({model: checkpoint}, config.data.target, config, config.evaluate.qualities)
    return evaluate(features[model], config)


def evaluate_file(file: Path, protocols: list[str] | None) -> Evaluation:
    """Measure features that another program computed.

    Raises:
        DataError: an array is missing or does not fit.
    """
    given = read_features(file)
    return evaluate_features(
        {"hq": given.query_feat_QD},
        given.gallery_feat_GD,
        given.query,
        given.gallery,
        protocols=protocols or list(PROTOCOLS),
        bootstrap_samples=BOOTSTRAP_SAMPLES,
        seed=BOOTSTRAP_SEED,
    )


def results_table(evaluations: Mapping[str, Evaluation], title: str) -> Table:
    """Lay out models, qualities and protocols, scores in percent with 95 % intervals."""
    table = Table(title=title, title_justify="left", caption_justify="left")
    for column in ("protocol", "query", "model"):
        table.add_column(column)
    for column in ("top-1", "mAP", "mINP", "chance mAP", "queries"):
        table.add_column(column, justify="right", overflow="fold")
    first = next(iter(evaluations.values()))
    for score in sorted(first.scores, key=lambda s: [p.protocol for p in first.scores].index(s.protocol)):
        for row, (name, evaluation) in enumerate(evaluations.items()):
            own = evaluation[score.quality, score.protocol]
            label = (score.protocol, score.quality.upper()) if row == 0 else ("", "")
            table.add_row(
                *label,
                name,
                *(own.percent(metric) for metric in ("top1", "mAP", "mINP")),
                f"{100 * own.metrics.chance_map:.1f}",
                str(own.metrics.queries),
                end_section=row == len(evaluations) - 1,
            )
    return table


def differences_text(before: Evaluation, after: Evaluation, config: ExperimentConfig) -> list[str]:
    """Say in a line per quality what `after` gains in clothes-changing mAP, with its paired 95 % interval."""
    gains = compare(before, after, bootstrap_samples=config.evaluate.bootstrap_samples, seed=BOOTSTRAP_SEED)
    lines = []
    for (quality, protocol), by_metric in gains.items():
        if protocol == config.evaluate.select_on:
            gain = by_metric["mAP"]
            lines.append(
                f"{quality.upper()} {protocol} mAP: {100 * gain.delta:+.1f} "
                f"(95 % interval {100 * gain.low:+.1f} … {100 * gain.high:+.1f}, paired by identity)"
            )
    return lines


def as_json(evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Give all scores by model, as fractions."""
    return {name: evaluation.to_dict() for name, evaluation in evaluations.items()}
