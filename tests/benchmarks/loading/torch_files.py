"""torch's `DataLoader` on local files: no store at all, and the whole set within reach of the sampler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from loading.decoding import batch_with_simplejpeg, channels_first, with_pil
from loading.job import Job


def write(job: Job) -> None:
    """Need nothing but the folder."""


class Photos(Dataset[Any]):
    """The files, decoded with PIL or as they are."""

    def __init__(self, files: list[Path], is_decoded: bool) -> None:
        self._files, self._is_decoded = files, is_decoded

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, at: int) -> Any:
        encoded = self._files[at].read_bytes()
        return with_pil(encoded) if self._is_decoded else encoded


def batches(job: Job) -> Iterator[Tensor]:
    """Give one shuffled pass."""
    is_ours = job.variant == "simplejpeg"
    loader: DataLoader[Any] = DataLoader(
        Photos(job.photo_files(), is_decoded=not is_ours),
        batch_size=job.batch_images,
        shuffle=True,
        num_workers=job.workers,
        collate_fn=batch_with_simplejpeg if is_ours else None,
        generator=torch.Generator().manual_seed(job.seed),
    )
    for batch in loader:
        yield channels_first(batch)
