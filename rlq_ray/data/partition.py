"""Pure: which rows come in which batch, and which part of a batch a rank takes.

The sequence of global batches depends on the seed and the epoch alone, so any number of workers sees the same one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlq_ray.errors import DataError, UsageError

Rows = NDArray[np.int64]


def order_generator(seed: int, epoch: int) -> np.random.Generator:
    """Make the generator that orders one epoch."""
    return np.random.default_rng([seed % 2**64, epoch])


def places_of_names(names: NDArray[np.integer[Any]]) -> dict[int, Rows]:
    """Find where each name occurs, ascending; names in ascending order. One sort, however many names there are."""
    by_name = np.argsort(names, kind="stable")
    different, begins = np.unique(names[by_name], return_index=True)
    return dict(zip(different.tolist(), np.split(by_name, begins)[1:], strict=True))


def rank_share(size: int, rank: int, world_size: int) -> slice:
    """Find a rank's contiguous share of a batch's identities or images.

    Raises:
        UsageError: they cannot be shared evenly, or there is no such rank.
    """
    if not 0 <= rank < world_size:
        raise UsageError(f"rank {rank} does not exist among {world_size} workers: count from 0")
    if size % world_size:
        raise UsageError(
            f"{size} identities or images of a batch cannot be shared by {world_size} workers: "
            f"take a multiple of {world_size}"
        )
    share = size // world_size
    return slice(rank * share, (rank + 1) * share)


def num_full_batches(num_rows: int, batch: int) -> int:
    """Count the whole batches in an epoch.

    Raises:
        DataError: fewer rows than a batch.
    """
    if num_rows < batch:
        raise DataError(f"{num_rows} images do not fill a batch of {batch}: lower batch.external_images, or add images")
    return num_rows // batch


def shuffled_batches(num_rows: int, batch: int, *, seed: int, epoch: int) -> Rows:
    """Permute `0…num_rows−1` into batches `(steps, batch)`; what does not fill a batch waits for another epoch.

    Raises:
        DataError: fewer rows than a batch.
    """
    steps = num_full_batches(num_rows, batch)
    return order_generator(seed, epoch).permutation(num_rows)[: steps * batch].reshape(steps, batch)
