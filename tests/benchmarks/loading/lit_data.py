"""LitData: chunks in S3 made by `optimize`, `StreamingDataset` in the workers of a `StreamingDataLoader`.

It decodes with torchvision by itself. Credentials and endpoint come from `AWS_*`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import litdata
import obstore  # noqa: F401 (the workers use it and torchvision.io; loaded here, before they are started)
import torchvision.io  # noqa: F401
from litdata.streaming import downloader
from torch import Tensor

from loading.decoding import batch_with_simplejpeg, channels_first
from loading.job import SHARD_BYTES, Job
from loading.store import upload_folder

# Its client refuses plain http, and no public option reaches this one.
downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True


def write(job: Job) -> None:
    """Write chunks with the library's `optimize` and upload them."""
    litdata.optimize(
        fn=_as_jpeg if job.variant == "torchvision" else _as_bytes,
        inputs=[str(file) for file in job.photo_files()],
        output_dir=job.scratch,
        num_workers=1,
        chunk_bytes=SHARD_BYTES,
        verbose=False,
    )
    upload_folder(job.scratch, job.uri)


def batches(job: Job) -> Iterator[Tensor]:
    """Give one shuffled pass."""
    dataset = litdata.StreamingDataset(job.uri, cache_dir=job.scratch, shuffle=True, drop_last=False, seed=job.seed)
    collate = batch_with_simplejpeg if job.variant == "simplejpeg" else None
    loader = litdata.StreamingDataLoader(
        dataset, batch_size=job.batch_images, num_workers=job.workers, collate_fn=collate
    )
    for batch in loader:
        yield channels_first(batch) if job.variant == "simplejpeg" else batch


def _as_jpeg(path: str) -> Any:
    return litdata.Jpeg(path=path)


def _as_bytes(path: str) -> bytes:
    with open(path, "rb") as stream:  # noqa: PTH123 (litdata ships this function by pickle)
        return stream.read()
