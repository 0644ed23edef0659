"""The limit: nothing but decoding, of JPEGs that already lie in memory, into batch buffers that are used again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from torch import Tensor

from loading.decoding import channels_first
from loading.job import HEIGHT, WIDTH, Job

_encoded: list[bytes] = []


def write(job: Job) -> None:
    """Need no data set."""


def start(job: Job) -> None:
    """Read the files: what this costs is not decoding."""
    _encoded.extend(file.read_bytes() for file in job.photo_files())


def batches(job: Job) -> Iterator[Tensor]:
    """Decode in file order; a batch is overwritten once `workers` others were given."""
    parts = [_encoded[first : first + job.batch_images] for first in range(0, len(_encoded), job.batch_images)]
    buffers = [np.empty((job.batch_images, HEIGHT, WIDTH, 3), np.uint8) for _ in range(2 * job.workers)]
    ahead: deque[Future[NDArray[np.uint8]]] = deque()
    with ThreadPoolExecutor(job.workers) as pool:
        for number, part in enumerate(parts):
            if len(ahead) == job.workers:
                yield channels_first(torch.from_numpy(ahead.popleft().result()))
            ahead.append(pool.submit(_decode, part, buffers[number % len(buffers)]))
        while ahead:
            yield channels_first(torch.from_numpy(ahead.popleft().result()))


def _decode(encoded: Sequence[bytes], buffer: NDArray[np.uint8]) -> NDArray[np.uint8]:
    for slot, image in zip(buffer, encoded, strict=False):
        simplejpeg.decode_jpeg(image, buffer=slot)
    return buffer[: len(encoded)]
