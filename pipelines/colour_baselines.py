"""How far colours alone get on rendered people: histograms of the very images that models are measured on.

A data set keeps no labels of skin and hair, so the test images are rendered again for them, and compared with the
stored ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

import numpy as np
import numpy.typing as npt

from pipelines.console import counting
from pipelines.evaluate import TestFeatures, evaluate
from pipelines.render import preset_named
from rlq_ray.config.schema import ExperimentConfig, Quality
from rlq_ray.data import DataSet, evaluation_rows, iterate_rows
from rlq_ray.degrade import degrade_to
from rlq_ray.distributed.tasks import map_on_cluster
from rlq_ray.errors import DataError, UsageError
from rlq_ray.evaluate import Evaluation
from rlq_ray.people.again import IdentityJob, render_identity
from rlq_ray.people.colour_histograms import COLOUR_BASELINES
from rlq_ray.people.dataset import identity_count
from rlq_ray.people.identity import Population
from rlq_ray.people.render import Frame
from rlq_ray.train.build import open_data
from rlq_ray.train.features import labels_of

SAME_SHARE = 0.99
"""Of an image's values that a second rendering must repeat; another processor may round a few differently."""


def colour_baselines(
    data: str, config: ExperimentConfig, preset_name: str, *, population: Population = "target", seed: int = 0
) -> dict[str, Evaluation]:
    """Measure the colour baselines, by name, under the protocols and qualities of `config`, with intervals.

    LQ queries are the same degraded images as models see; masks are the true ones of the image before that. Ray must
    be connected.

    Args:
        data: URI of the shards of rendered people.
        config: of the data's canvas, the degradation and the evaluation.
        preset_name: which people were rendered.
        population: of them.
        seed: of them.

    Raises:
        UsageError: no such preset, or the canvas is not as large as its images.
        DataError: `data` cannot be read, or holds other images than those that are named.
    """
    features = colour_features(data, config, preset_name, population=population, seed=seed)
    return {name: evaluate(own, config) for name, own in features.items()}


def colour_features(
    data: str, config: ExperimentConfig, preset_name: str, *, population: Population, seed: int
) -> dict[str, TestFeatures]:
    """Describe the test images by their colours, by baseline; arguments and errors as of `colour_baselines`."""
    preset = preset_named(preset_name)
    canvas = (config.data.canvas_height, config.data.canvas_width)
    if canvas != (preset.height, preset.width):
        raise UsageError(
            f"the canvas is {canvas[0]}×{canvas[1]}, images of preset {preset.name} are {preset.height}×{preset.width}:"
            f" set data.canvas_height={preset.height} data.canvas_width={preset.width}"
        )
    dataset = open_data(data, config.data)
    query_rows, gallery_rows = evaluation_rows(dataset.index, "test")
    query, gallery = labels_of(dataset.index, query_rows, gallery_rows)
    jobs = [
        IdentityJob(preset, population, seed, identity)
        for identity in range(preset.train_identities, identity_count(preset, "target"))
    ]
    with counting("rendering the test images again for their labels", len(jobs)) as advance:
        parts = map_on_cluster(render_identity, jobs, advance=advance)
    frames = {stem: frame for part in parts for stem, frame in part.items()}
    gallery_feats = _describe(dataset, gallery_rows, frames, config, "hq")
    query_feats = {
        quality: _describe(dataset, query_rows, frames, config, quality) for quality in config.evaluate.qualities
    }
    return {
        name: TestFeatures(
            query_rows,
            gallery_rows,
            query,
            gallery,
            {quality: feats[name] for quality, feats in query_feats.items()},
            gallery_feats[name],
        )
        for name in COLOUR_BASELINES
    }


def _describe(
    dataset: DataSet,
    row_N: npt.NDArray[np.int64],
    frames: Mapping[str, Frame],
    config: ExperimentConfig,
    quality: Quality,
) -> dict[str, npt.NDArray[np.float32]]:
    """Compute every baseline's features (N, D) of some rows in a quality."""
    feats: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in COLOUR_BASELINES}
    for batch in iterate_rows(dataset, row_N, batch_images=config.evaluate.batch_images, data=config.data):
        labels = [
            _labels(dataset.index.source[row], image_HW3, frames)
            for row, image_HW3 in zip(batch.row_B.tolist(), batch.image_BCHW.permute(0, 2, 3, 1).numpy(), strict=True)
        ]
        image_BCHW = degrade_to(
            quality,
            batch.image_BCHW,
            config.degrade,
            row_B=batch.row_B,
            original_size_B2=batch.original_size_B2,
            seed=config.evaluate.degrade_seed,
        )
        for image_HW3, label_HW in zip(image_BCHW.permute(0, 2, 3, 1).numpy(), labels, strict=True):
            for name, describe in COLOUR_BASELINES.items():
                feats[name].append(describe(image_HW3, label_HW))
    return {name: np.stack(own) for name, own in feats.items()}


def _labels(source: str, image_HW3: npt.NDArray[np.uint8], frames: Mapping[str, Frame]) -> npt.NDArray[np.uint8]:
    """Return the labels (H, W) of a stored image, having seen that they are of this image."""
    frame = frames.get(PurePath(source).stem)
    if frame is None or (frame.image_HW3 == image_HW3).mean() < SAME_SHARE:
        raise DataError(
            f"{source} is not an image that this preset, population and seed render: name those of the data set,"
            " or render and ingest it again"
        )
    return frame.label_HW
