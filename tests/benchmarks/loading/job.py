"""What a contender is asked to do; travels to its process as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

HEIGHT, WIDTH = 384, 192
"""Pixels of every photo."""
SHARD_BYTES = 8 * 2**20
"""Size of the peers' shards: enough of them to share and shuffle, large enough that requests hardly count."""
SHUFFLE_IMAGES = 1000
"""Size of the shuffle buffer, for peers that have one."""


@dataclass(frozen=True)
class Job:
    """One pass of one reader over one data set."""

    variant: str
    """Which of its ways the contender goes; its module knows them."""
    photos: str
    """Folder of the JPEGs and their table."""
    uri: str
    """Prefix in the S3 store where `write` puts the data set and `batches` finds it."""
    scratch: str
    """Empty folder for local caches, deleted after the pass."""
    seed: int = 0
    """Differs from round to round."""
    batch_images: int = 64
    workers: int = 2
    """Threads or processes that decode."""
    rank: int = 0
    world_size: int = 1

    def to_json(self) -> str:
        """Write as `from_json` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))

    def photo_files(self) -> list[Path]:
        """List the JPEGs, sorted."""
        return sorted(Path(self.photos).glob("*/*.jpg"))


class ContenderModule(Protocol):
    """What a contender's module offers."""

    def write(self, job: Job) -> None:
        """Turn `job.photos` into a data set at `job.uri`."""

    def batches(self, job: Job) -> Iterator[Tensor]:
        """Give one pass over the data set at `job.uri`, shuffled: uint8 (B, 3, 384, 192)."""
