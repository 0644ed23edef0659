"""Ray Data: Parquet in S3, `read_parquet` and `iter_torch_batches` with a local shuffle.

Ray and its workers are started beforehand, because a training on Ray has them already.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
import torch
from torch import Tensor

from loading.decoding import batch_with_simplejpeg, channels_first, with_pil
from loading.job import SHARD_BYTES, SHUFFLE_IMAGES, Job
from loading.store import upload_folder

OBJECT_STORE_BYTES = 512 * 2**20
"""Less than the data set, so that it streams; with room for all of it, it reads all of it before the first batch."""


def write(job: Job) -> None:
    """Write Parquet files of the shards' size, in row groups of a batch."""
    rows: list[bytes] = []
    number = 0
    for file in [*job.photo_files(), None]:
        if file is not None:
            rows.append(file.read_bytes())
        if rows and (file is None or sum(map(len, rows)) >= SHARD_BYTES):
            table = pa.table({"image": pa.array(rows, pa.binary())})
            path = Path(job.scratch) / f"{number:06}.parquet"
            pq.write_table(table, path, row_group_size=job.batch_images, compression="none")
            rows, number = [], number + 1
    upload_folder(job.scratch, job.uri)


def start(job: Job) -> None:
    """Start Ray with as many CPUs as the others have workers, and let these import what Ray Data needs."""
    ray.init(
        num_cpus=job.workers,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
        _temp_dir=job.scratch,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    ray.data.range(job.workers, override_num_blocks=job.workers).materialize()


def batches(job: Job) -> Iterator[Tensor]:
    """Give one shuffled pass; files in random order, rows from a buffer."""
    rows = ray.data.read_parquet(job.uri, shuffle="files")
    collate = _decode_with_simplejpeg if job.variant == "simplejpeg" else _decode_with_pil
    for batch in rows.iter_torch_batches(
        batch_size=job.batch_images,
        prefetch_batches=job.workers,
        local_shuffle_buffer_size=SHUFFLE_IMAGES,
        local_shuffle_seed=job.seed,
        collate_fn=collate,
    ):
        yield channels_first(batch)


def _decode_with_pil(columns: dict[str, Any]) -> Tensor:
    return torch.stack([with_pil(encoded) for encoded in columns["image"]])


def _decode_with_simplejpeg(columns: dict[str, Any]) -> Tensor:
    return batch_with_simplejpeg(columns["image"])
