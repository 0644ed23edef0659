"""Images of given rows once, in order: what evaluation and pictures need."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from rlq_ray.config.schema import DataConfig
from rlq_ray.data.assemble import Assembler, Labels
from rlq_ray.data.loader import CPU, fits_in_memory
from rlq_ray.data.partition import Rows
from rlq_ray.data.read_ahead import EpochPlan, ReadAhead
from rlq_ray.data.reader import DataSet
from rlq_ray.types import Batch


def iterate_rows(
    dataset: DataSet,
    rows: Rows,
    *,
    batch_images: int,
    data: DataConfig,
    with_masks: bool = False,
    device: torch.device = CPU,
) -> Iterator[Batch]:
    """Give the images of `rows` in order, in batches of which the last may be short.

    Identity and clothes are numbered over the whole data set, so that query and gallery agree.

    Raises:
        DataError: an image or shard cannot be read.
    """
    parts = [rows[start : start + batch_images] for start in range(0, len(rows), batch_images)]
    if not parts:
        return
    plan = EpochPlan.of(parts, dataset.index.group)
    assembler = Assembler(dataset, Labels.of_data_set(dataset), data=data, with_masks=with_masks, device=device)
    reading = ReadAhead(
        dataset,
        lambda _: plan,
        steps=len(parts),
        masks=with_masks,
        threads=data.read_threads,
        batches=data.read_ahead_batches,
        is_kept=fits_in_memory(dataset, rows, masks=with_masks),
    )
    ahead: deque[Future[Batch]] = deque()
    submitted = 0
    with ThreadPoolExecutor(data.decode_threads, thread_name_prefix="decode") as pool, contextlib.closing(reading):
        try:
            for number in range(len(parts)):
                while submitted < min(number + 1 + data.prefetch_batches, len(parts)):
                    reading.before(submitted, end=len(parts))
                    ahead.append(pool.submit(assembler, parts[submitted]))
                    submitted += 1
                yield ahead.popleft().result()
                reading.after(number)
        finally:
            for future in ahead:
                future.cancel()
