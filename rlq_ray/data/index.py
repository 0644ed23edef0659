"""What is known of every image of a data set without its pixels: columns of equal length, a row's number its name.

About 100 bytes an image, so that millions fit beside a training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rlq_ray.data.records import FILE_COLUMNS

UNKNOWN = -1

Selection = NDArray[np.int64] | NDArray[np.bool_] | slice


@dataclass(frozen=True)
class Names:
    """A column of texts that repeat: `codes` int32 (N,) number the sorted `names`."""

    codes: NDArray[np.int32]
    names: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, rows: int) -> str: ...
    @overload
    def __getitem__(self, rows: Selection) -> NDArray[np.str_]: ...
    def __getitem__(self, rows: int | Selection) -> str | NDArray[np.str_]:
        """Look up the names of some rows."""
        named = self.names[self.codes[rows]]
        return named if isinstance(named, np.ndarray) else str(named)

    def tolist(self) -> list[str]:
        """List the name of every row."""
        return [str(name) for name in self.names[self.codes]]

    def equals(self, name: str) -> NDArray[np.bool_]:
        """Tell for every row whether it has this name."""
        same: NDArray[np.bool_] = self.codes == self.code(name)
        return same

    def code(self, name: str) -> int:
        """Look up the number of a name, −1 if there is none."""
        place = int(np.searchsorted(self.names, name))
        return place if place < len(self.names) and self.names[place] == name else -1


@dataclass(frozen=True)
class Texts:
    """A column of texts that differ from row to row, kept as Arrow has them."""

    texts: pa.StringArray

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, row: int) -> str:
        return str(self.texts[int(row)].as_py())

    def __iter__(self) -> Iterator[str]:
        return (str(text) for text in self.tolist())

    def tolist(self, rows: Sequence[int] | NDArray[np.int64] | None = None) -> list[str]:
        """List the texts of some rows, or of all."""
        return list((self.texts if rows is None else self.texts.take(pa.array(rows))).to_pylist())


@dataclass(frozen=True)
class FileRanges:
    """Where the encoded files of one column lie within their shards, in bytes; size 0 where there is no file."""

    offset: NDArray[np.int64]
    size: NDArray[np.int32]


@dataclass(frozen=True)
class Index:
    """Columns over all rows, in the order of the shards.

    `gender` is 1 male, 0 female, −1 unknown; `pose` a cluster from 1, or 0 for no pose; `height` and `width` are the
    stored image's pixels. `group` numbers the row groups over all shards, ascending; group g has the rows from
    `first_row[g]` to `first_row[g + 1]`, in shard `shard_of_group[g]` of the manifest's list. `files` has the ranges
    of the images and of the masks, if there are any; the checksums of a group are of its images, and of what lies from
    there to the end of its masks. `plain_jpeg` marks images that every decoder takes alike.
    """

    identity: Names
    clothes: Names
    split: Names
    source: Texts
    camera: NDArray[np.int32]
    gender: NDArray[np.int8]
    pose: NDArray[np.int16]
    mask_faulty: NDArray[np.bool_]
    height: NDArray[np.int32]
    width: NDArray[np.int32]
    group: NDArray[np.int32]
    first_row: NDArray[np.int64]
    shard_of_group: NDArray[np.int32]
    files: dict[str, FileRanges]
    images_crc32: NDArray[np.uint32]
    masks_crc32: NDArray[np.uint32]
    plain_jpeg: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.camera)

    @property
    def shard(self) -> NDArray[np.int32]:
        """Number of each row's shard in the manifest's list."""
        return self.shard_of_group[self.group]

    @property
    def num_groups(self) -> int:
        """Number of row groups of all shards."""
        return len(self.shard_of_group)

    def rows_of_split(self, split: str) -> NDArray[np.int64]:
        """List the rows of a split, ascending."""
        return np.flatnonzero(self.split.equals(split))

    def row_group(self, group: int) -> int:
        """Count a row group within its shard."""
        return group - int(np.searchsorted(self.shard_of_group, self.shard_of_group[group]))


def index_from_table(table: pa.Table) -> Index:
    """Take the index out of the table that was written beside the shards."""
    shard, row_group = _numbers(table, "shard"), _numbers(table, "row_group")
    begins = np.ones(len(shard), dtype=np.bool_)
    begins[1:] = (np.diff(shard) != 0) | (np.diff(row_group) != 0)
    first_row = np.flatnonzero(begins)
    files = {
        column: FileRanges(_numbers(table, f"{column}_offset"), size)
        for column in FILE_COLUMNS
        if (size := _numbers(table, f"{column}_size")).any() or column == "image"
    }
    return Index(
        identity=_names(table, "identity"),
        clothes=_names(table, "clothes"),
        split=_names(table, "split"),
        source=Texts(table["source"].combine_chunks()),
        camera=_numbers(table, "camera"),
        gender=table["gender"].fill_null(UNKNOWN).to_numpy(),
        pose=_numbers(table, "pose"),
        mask_faulty=_numbers(table, "mask_faulty"),
        height=_numbers(table, "height"),
        width=_numbers(table, "width"),
        group=(np.cumsum(begins) - 1).astype(np.int32),
        first_row=np.append(first_row, len(shard)).astype(np.int64),
        shard_of_group=shard[first_row],
        files=files,
        images_crc32=_numbers(table, "images_crc32")[first_row],
        masks_crc32=_numbers(table, "masks_crc32")[first_row],
        plain_jpeg=_numbers(table, "plain_jpeg"),
    )


def _numbers(table: pa.Table, column: str) -> NDArray[Any]:
    return table[column].to_numpy()


def _names(table: pa.Table, column: str) -> Names:
    encoded = pc.dictionary_encode(table[column]).combine_chunks()
    names, code_of_entry = np.unique(np.array(encoded.dictionary.to_pylist(), dtype=np.str_), return_inverse=True)
    return Names(code_of_entry.astype(np.int32)[encoded.indices.to_numpy()], names)
