"""The pictures of a run: what the data look like, what degrading does, how it was learned, what is found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from PIL import Image

from pipelines.evaluate import TestFeatures
from rlq_ray.config.schema import DataConfig, DegradeConfig, ExperimentConfig
from rlq_ray.data import DataSet, iterate_rows
from rlq_ray.degrade import Degrader, defocus, describe, draw_for_rows, motion_blur, pixelate
from rlq_ray.errors import DataError
from rlq_ray.evaluate import Evaluation, Labels, top_k
from rlq_ray.pictures import (
    Result,
    Retrieval,
    cmc_curves,
    contact_sheet,
    degradation_pairs,
    evaluation_curves,
    loss_curves,
    results_chart,
    retrieval_gallery,
    severity_grid,
)
from rlq_ray.tracking.mlflow_tracker import MlflowStore
from rlq_ray.types import Batch

SHEET_IDENTITIES = 8
PAIRS = 16
RETRIEVED = 10
SEVERITIES = 6
MOTION_ANGLE_DEG = 20
MODEL_NAMES = {"base": "base", "rlq": "RLQ"}


def sheet_of(uri: str, split: str) -> Image.Image:
    """Draw a data set's contact sheet, at the size of its first image.

    Raises:
        DataError: there is no data set, or it has no such split.
    """
    dataset = DataSet.open(uri)
    rows = dataset.index.rows_of_split(split)
    if not len(rows):
        raise DataError(f"{uri} has no split '{split}': choose one of {', '.join(dataset.manifest.splits)}")
    height, width = int(dataset.index.height[rows[0]]), int(dataset.index.width[rows[0]])
    data = DataConfig(target=uri, canvas_height=height, canvas_width=width)
    return data_sheet(dataset, data, split=split, title=f"{dataset.manifest.name}: {split}")


def data_sheet(dataset: DataSet, data: DataConfig, *, split: str, title: str) -> Image.Image:
    """Show some identities of a split in rows, their outfits in columns."""
    index = dataset.index
    rows = index.rows_of_split(split)
    names = np.unique(index.identity[rows])
    chosen = names[np.linspace(0, len(names) - 1, min(SHEET_IDENTITIES, len(names))).astype(int)]
    rows = rows[np.isin(index.identity[rows], chosen)]
    counts = dataset.manifest.splits
    total = " · ".join(f"{name} {c.images} images of {c.identities} identities" for name, c in counts.items())
    return contact_sheet(
        _images(dataset, rows, data),
        [f"camera {camera}" for camera in index.camera[rows]],
        list(zip(index.identity[rows], index.clothes[rows], strict=True)),
        title=title,
        subtitle=total,
    )


def degradation_sheet(dataset: DataSet, config: ExperimentConfig) -> Image.Image:
    """Show test queries above what they become as LQ queries."""
    rows = dataset.index.rows_of_split("query")
    rows = rows[np.linspace(0, len(rows) - 1, min(PAIRS, len(rows))).astype(int)]
    (batch,) = iterate_rows(dataset, rows, batch_images=len(rows), data=config.data)
    degraded, captions = degrade_rows(batch, config)
    return degradation_pairs(
        _as_list(batch.image_BCHW),
        degraded,
        captions,
        title="Low-quality queries",
        subtitle="above as stored, below as degraded for the evaluation",
    )


def degrade_rows(batch: Batch, config: ExperimentConfig) -> tuple[list[npt.NDArray[np.uint8]], list[str]]:
    """Degrade images as the evaluation does, and say how each."""
    draw = draw_for_rows(batch.row_B, config.degrade, config.evaluate.degrade_seed)
    degraded_BCHW = Degrader(config.degrade)(batch.image_BCHW, draw, batch.original_size_B2)
    return _as_list(degraded_BCHW), [describe(draw, i) for i in range(len(batch))]


def retrieval_sheet(
    dataset: DataSet,
    config: ExperimentConfig,
    features: Mapping[str, TestFeatures],
    *,
    num_queries: int = 4,
    protocol: str = "cc",
) -> Image.Image:
    """Show what every model finds for the same queries, as stored and degraded; right and wrong are marked.

    Queries are spread evenly over the test identities, and chosen before anything is ranked.
    """
    some = next(iter(features.values()))
    places = _spread_queries(some.query, num_queries)
    groups = []
    for place in places:
        rows = []
        for quality in some.query_feats:
            for name, own in features.items():
                rows.append(
                    _retrieval(dataset, config, own, int(place), quality, MODEL_NAMES.get(name, name), protocol)
                )
        groups.append(rows)
    return retrieval_gallery(groups, protocol, subtitle="queries spread evenly over the test identities")


def _retrieval(
    dataset: DataSet,
    config: ExperimentConfig,
    features: TestFeatures,
    place: int,
    quality: str,
    label: str,
    protocol: str,
) -> Retrieval:
    found, correct = top_k(
        features.query_feats[quality][place : place + 1],
        features.gallery_feat_GD,
        features.query.take(np.array([place])),
        features.gallery,
        protocol,
        RETRIEVED,
    )
    kept = found[0][found[0] >= 0]
    rows = features.gallery_rows[kept]
    query_row = features.query_rows[place : place + 1]
    (batch,) = iterate_rows(dataset, query_row, batch_images=1, data=config.data)
    image = degrade_rows(batch, config)[0][0] if quality == "lq" else _as_list(batch.image_BCHW)[0]
    index = dataset.index
    return Retrieval(
        label=f"{label}\n{quality.upper()} query",
        query=image,
        query_caption=_caption(index.clothes[query_row[0]], index.camera[query_row[0]]),
        results=_images(dataset, rows, config.data),
        correct=[bool(c) for c in correct[0][found[0] >= 0]],
        captions=[_caption(index.clothes[row], index.camera[row]) for row in rows],
    )


def cmc_figure(evaluations: Mapping[str, Evaluation], title: str) -> Figure:
    """Draw the CMC curves of every model, quality and protocol."""
    curves: dict[str, dict[tuple[str, str], npt.ArrayLike]] = {}
    for name, evaluation in evaluations.items():
        for score in evaluation.scores:
            key = (MODEL_NAMES.get(name, name), score.quality)
            curves.setdefault(score.protocol, {})[key] = score.metrics.cmc_K
    return cmc_curves(curves, title=title)


def results_figure(evaluations: Mapping[str, Evaluation], *, title: str, subtitle: str) -> Figure:
    """Draw top-1 and mAP with their intervals, and what chance gives."""
    results, chance = [], {}
    for name, evaluation in evaluations.items():
        for score in evaluation.scores:
            for metric in ("top1", "mAP"):
                ends = score.intervals.get(metric)
                results.append(
                    Result(
                        model=MODEL_NAMES.get(name, name),
                        quality=score.quality,
                        protocol=score.protocol,
                        metric=metric,
                        value=score.values()[metric],
                        low=ends.low if ends else None,
                        high=ends.high if ends else None,
                    )
                )
            chance[score.protocol, "mAP"] = score.metrics.chance_map
            chance[score.protocol, "top1"] = score.metrics.chance_top1
    return results_chart(results, chance=chance, title=title, subtitle=subtitle)


def training_figures(store: MlflowStore, run_id: str, name: str, best_epoch: int) -> dict[str, Figure]:
    """Draw a run's losses and its scores on the validation identities from what was tracked."""
    losses: dict[str, dict[str, Any]] = {}
    scores: dict[tuple[str, str, str], Any] = {}
    for metric in store.run(run_id).metrics:
        parts = metric.split("/")
        if parts[0] in ("cap", "tad"):
            losses.setdefault(parts[0], {})[parts[1]] = _series(store, run_id, metric)
        elif parts[0] == "validation" and parts[-1] in ("mAP", "top1") and len(parts) == 4:
            scores[parts[1], parts[2], parts[3]] = _series(store, run_id, metric)
    figures = {
        "loss_curves": loss_curves(
            losses, learning_rate=_series(store, run_id, "learning_rate"), title=f"Losses of {name}"
        )
    }
    if scores:
        figures["validation_curves"] = evaluation_curves(
            scores, best_epoch=best_epoch, title=f"Validation identities, {name}"
        )
    return figures


def _series(store: MlflowStore, run_id: str, metric: str) -> tuple[list[int], list[float]]:
    last = {point.step: point.value for point in store.metric_history(run_id, metric)}  # a resumed run repeats steps
    return sorted(last), [last[step] for step in sorted(last)]


def _spread_queries(query: Labels, num: int) -> npt.NDArray[np.int64]:
    _, first = np.unique(query.identity_N, return_index=True)
    return first[np.linspace(0, len(first) - 1, min(num, len(first))).astype(int)]


def _images(dataset: DataSet, rows: npt.NDArray[np.int64], data: DataConfig) -> list[Any]:
    return [
        image
        for batch in iterate_rows(dataset, rows, batch_images=64, data=data)
        for image in _as_list(batch.image_BCHW)
    ]


def _as_list(image_BCHW: torch.Tensor) -> list[npt.NDArray[np.uint8]]:
    return list(image_BCHW.permute(0, 2, 3, 1).contiguous().numpy())


def _caption(clothes: str, camera: int) -> str:
    return f"{clothes} · cam {camera}"


def preview_degradations(files: list[Path], out: Path) -> list[Path]:
    """Write a sheet per image with every artefact from mild to severe, in the published ranges.

    Raises:
        DataError: a file is no image.
    """
    targets = [out] if len(files) == 1 else [out.with_stem(f"{out.stem}_{file.stem}") for file in files]
    for file, target in zip(files, targets, strict=True):
        severity_sheet(read_image(file), DegradeConfig(), title=file.name).save(target)
    return targets


def severity_sheet(image_HW3: npt.NDArray[np.uint8], config: DegradeConfig, *, title: str) -> Image.Image:
    """Show one image under each artefact at six severities between the configured bounds."""
    image_1CHW = torch.from_numpy(image_HW3.copy()).permute(2, 0, 1)[None].contiguous(memory_format=torch.channels_last)
    shorter = min(image_HW3.shape[:2])
    rows: dict[str, list[tuple[str, npt.NDArray[np.uint8]]]] = {"pixelation": [], "out of focus": [], "motion": []}
    for side in np.linspace(min(config.pixelation_px[1], shorter), config.pixelation_px[0], SEVERITIES).astype(int):
        rows["pixelation"].append((f"{side} px", _only(pixelate(image_1CHW, torch.tensor([side])))))
    kernel = min(config.gaussian_kernel_px[1], shorter // 2 * 2 - 1)
    for sigma in np.linspace(*config.gaussian_sigma_px, SEVERITIES):
        blurred = defocus(image_1CHW, torch.tensor([kernel]), torch.tensor([sigma], dtype=torch.float32))
        rows["out of focus"].append((f"σ {sigma:.1f} px", _only(blurred)))
    for length in np.linspace(*config.motion_px, SEVERITIES).astype(int):
        moved = motion_blur(image_1CHW, torch.tensor([length]), torch.tensor([MOTION_ANGLE_DEG]))
        rows["motion"].append((f"{length} px", _only(moved)))
    return severity_grid(image_HW3, rows, title=title, subtitle="mild to severe, in the image's own pixels")


def read_image(file: Path) -> npt.NDArray[np.uint8]:
    """Read an image file as RGB `(H, W, 3)`.

    Raises:
        DataError: it is missing or no image.
    """
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the image {file} ({error}): check the path, or save it anew") from error


def _only(image_1CHW: torch.Tensor) -> npt.NDArray[np.uint8]:
    return _as_list(image_1CHW)[0]
