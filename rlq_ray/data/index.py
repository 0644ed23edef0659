"""What is known of every image of a data set without its pixels: columns of equal length, a row's number its name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

UNKNOWN = -1


@dataclass(frozen=True)
class Index:
    """Columns over all rows, in the order of the shards.

    `gender` is 1 male, 0 female, −1 unknown; `pose` a cluster from 1, or 0 for no pose; `height` and `width` are the
    stored image's pixels. `shard` numbers the manifest's list, `row_group` counts within the shard and
    `row_in_group` within the group.
    """

    identity: NDArray[np.str_]
    clothes: NDArray[np.str_]
    camera: NDArray[np.int32]
    split: NDArray[np.str_]
    gender: NDArray[np.int8]
    pose: NDArray[np.int16]
    mask_faulty: NDArray[np.bool_]
    height: NDArray[np.int32]
    width: NDArray[np.int32]
    source: NDArray[np.object_]
    sha256: NDArray[np.object_]
    shard: NDArray[np.int32]
    row_group: NDArray[np.int32]
    row_in_group: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.identity)

    def rows_of_split(self, split: str) -> NDArray[np.int64]:
        """List the rows of a split, ascending."""
        return np.flatnonzero(self.split == split)


def index_from_table(table: pa.Table, rows_per_group: int) -> Index:
    """Take the index out of the table that was written beside the shards."""
    shard = table["shard"].to_numpy()
    first_of_shard = np.searchsorted(shard, shard)
    return Index(
        identity=np.array(table["identity"].to_pylist(), dtype=np.str_),
        clothes=np.array(table["clothes"].to_pylist(), dtype=np.str_),
        camera=table["camera"].to_numpy(),
        split=np.array(table["split"].to_pylist(), dtype=np.str_),
        gender=table["gender"].fill_null(UNKNOWN).to_numpy(),
        pose=table["pose"].to_numpy(),
        mask_faulty=table["mask_faulty"].to_numpy(),
        height=table["height"].to_numpy(),
        width=table["width"].to_numpy(),
        source=np.array(table["source"].to_pylist(), dtype=object),
        sha256=np.array(table["sha256"].to_pylist(), dtype=object),
        shard=shard,
        row_group=table["row_group"].to_numpy(),
        row_in_group=((np.arange(len(shard)) - first_of_shard) % rows_per_group).astype(np.int32),
    )
