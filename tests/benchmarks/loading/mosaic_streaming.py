"""MosaicML Streaming: MDS shards in S3, `StreamingDataset` in the workers of a `StreamingDataLoader`.

One canonical node, since with the default of 64 a pass pads its parts with repeated images. The endpoint comes from
`S3_ENDPOINT_URL`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3  # noqa: F401 (the library imports it at the first download; imports are not to be measured)
import numpy as np
import torch
from PIL import Image
from streaming import MDSWriter, StreamingDataLoader, StreamingDataset
from torch import Tensor

from loading.decoding import batch_with_simplejpeg, channels_first
from loading.job import SHARD_BYTES, Job

ENCODINGS = {"pil": "jpeg", "simplejpeg": "bytes"}
"""How each variant's column is stored; the file's content is the JPEG in both."""


def write(job: Job) -> None:
    """Write MDS shards with the library's writer."""
    encoding = ENCODINGS[job.variant]
    with MDSWriter(out=job.uri, columns={"image": encoding, "number": "int"}, size_limit=SHARD_BYTES) as writer:
        for number, file in enumerate(job.photo_files()):
            writer.write({"image": Image.open(file) if encoding == "jpeg" else file.read_bytes(), "number": number})


class Photos(StreamingDataset):
    """Photos decoded to (H, W, 3) where the column gives a picture, else as they are stored."""

    def __getitem__(self, at: Any) -> Any:
        sample = super().__getitem__(at)
        if isinstance(sample["image"], bytes):
            return sample["image"]
        return torch.from_numpy(np.array(sample["image"].convert("RGB")))


def batches(job: Job) -> Iterator[Tensor]:
    """Give one shuffled pass."""
    dataset = Photos(
        remote=job.uri,
        local=job.scratch,
        shuffle=True,
        shuffle_seed=job.seed,
        batch_size=job.batch_images,
        num_canonical_nodes=1,
    )
    collate = batch_with_simplejpeg if job.variant == "simplejpeg" else None
    loader = StreamingDataLoader(dataset, batch_size=job.batch_images, num_workers=job.workers, collate_fn=collate)
    for batch in loader:
        yield channels_first(batch)
