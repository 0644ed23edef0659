"""WebDataset: tar files in S3, read through a pipe, batched in the workers of a `WebLoader`.

The pipe is curl, by which the library itself reads http, since it costs a fifth of the CPU time of `s5cmd cat`, and
`aws s3 cp` starts a Python for every shard.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import webdataset as wds
from torch import Tensor

from loading.decoding import batch_with_simplejpeg, channels_first
from loading.job import SHARD_BYTES, SHUFFLE_IMAGES, Job
from loading.store import list_objects, upload_folder

CURL = "curl -sf --aws-sigv4 aws:amz:$AWS_REGION:s3 --user $AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY $AWS_ENDPOINT_URL"
"""What the shell of a pipe runs, with the object's bucket and key behind it."""


def write(job: Job) -> None:
    """Write tar files with the library's writer and upload them."""
    folder = Path(job.scratch)
    with wds.ShardWriter(str(folder / "%06d.tar"), maxsize=SHARD_BYTES, verbose=0) as writer:
        for number, file in enumerate(job.photo_files()):
            writer.write({"__key__": f"{number:06}", "jpg": file.read_bytes()})
    upload_folder(folder, job.uri)


def batches(job: Job) -> Iterator[Tensor]:
    """Give one shuffled pass."""
    pipes = [f"pipe:{CURL}/{uri.removeprefix('s3://')}" for uri in list_objects(job.uri)]
    dataset = wds.WebDataset(pipes, shardshuffle=len(pipes), seed=job.seed, empty_check=False).shuffle(SHUFFLE_IMAGES)
    if job.variant == "simplejpeg":
        dataset = dataset.to_tuple("jpg").batched(job.batch_images, collation_fn=_decode)
    else:
        dataset = dataset.decode("rgb8").to_tuple("jpg").batched(job.batch_images, collation_fn=_stack)
    for batch in wds.WebLoader(dataset, batch_size=None, num_workers=job.workers):
        yield channels_first(batch)


def _decode(samples: list[tuple[bytes]]) -> Tensor:
    return batch_with_simplejpeg([encoded for (encoded,) in samples])


def _stack(samples: list[tuple[Any]]) -> Tensor:
    return torch.stack([torch.from_numpy(pixels) for (pixels,) in samples])
