"""The product's loaders: identities balanced within a window or over the whole set, and images without labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import boto3  # noqa: F401 (the library imports it at the first read from S3; imports are not to be measured)
from torch import Tensor

from loading.job import HEIGHT, WIDTH, Job
from rlq_ray.config.schema import BatchConfig, DataConfig
from rlq_ray.data import BatchLoader, DataSet, ExternalLoader, TargetLoader, ingest, split_training

IMAGES_PER_IDENTITY = 4
WINDOW_MB = 32
"""Per reader."""


def write(job: Job) -> None:
    """Ingest the folder."""
    ingest(job.photos, "generic", job.uri, name="photos")


def batches(job: Job) -> Iterator[Tensor]:
    """Give this rank's batches of one epoch; over all ranks a batch has `batch_images` times as many images."""
    with _open_loader(job) as loader:
        for _ in range(loader.steps_per_epoch):
            yield loader.next_batch().image_BCHW


def _open_loader(job: Job) -> BatchLoader:
    dataset = DataSet.open(job.uri)
    training = split_training(dataset.index, pose_clusters=0, validation_fraction=0)
    images = job.batch_images * job.world_size
    batch = BatchConfig(
        identities=images // IMAGES_PER_IDENTITY, images_per_identity=IMAGES_PER_IDENTITY, external_images=images
    )
    window_mb: int | Literal["all"] = "all" if job.variant == "all" else WINDOW_MB * job.world_size
    data = DataConfig(
        target=job.uri,
        canvas_height=HEIGHT,
        canvas_width=WIDTH,
        decode_threads=job.workers,
        decoder="cpu",
        window_mb=window_mb,
    )
    if job.variant == "unlabelled":
        return ExternalLoader(
            dataset,
            training.train_rows,
            batch=batch,
            data=data,
            seed=job.seed,
            rank=job.rank,
            world_size=job.world_size,
        )
    return TargetLoader(
        dataset,
        training.train_rows,
        training.classes,
        batch=batch,
        data=data,
        seed=job.seed,
        rank=job.rank,
        world_size=job.world_size,
    )
