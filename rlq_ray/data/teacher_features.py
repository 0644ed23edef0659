"""A teacher's features of the external images under draws that are the same in every training: an Arrow file a draw.

A file has the columns `row` (of the image in its data set), `clothes` and `identity` (features of unit length in
float16), and appears whole or not at all. Knows neither the teacher nor what a draw does to an image: the folder's name
stands for both.
"""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from rlq_ray.data.partition import Rows
from rlq_ray.errors import DataError, NotFoundError
from rlq_ray.storage import Location, RangeReader, write_bytes
from rlq_ray.types import Batch

COLUMNS = ("clothes", "identity")
MOST_OPEN = 2
"""Draws that are held in memory: that of an epoch, and that of the next, whose first batches are made ready already."""
_CHECKSUM, _END = "crc32", b"ARROW1"


class _Draw(NamedTuple):
    row_N: Rows
    features: tuple[NDArray[np.float16], ...]


def file_of_draw(folder: Location, number: int) -> Location:
    """Say where a draw's features lie."""
    return folder / f"draw-{number:05d}.arrow"


def missing_draws(folder: Location, num_draws: int) -> list[int]:
    """List the draws whose file is not there, or has lost its end."""
    ranges = RangeReader()
    return [number for number in range(num_draws) if not _has_its_end(file_of_draw(folder, number), ranges)]


def write_draw(
    folder: Location, number: int, row_N: Rows, feat_2ND: NDArray[np.float16], about: Mapping[str, str]
) -> None:
    """Write the clothes and the identity features of the images of some rows, ascending.

    Args:
        folder: of the draws.
        number: of this one.
        row_N: of the images.
        feat_2ND: their features.
        about: what the folder's name stands for, for people who open the file.

    Raises:
        StorageError: the folder cannot be written.
    """
    features = [pa.FixedSizeListArray.from_arrays(pa.array(feat_ND.ravel()), feat_ND.shape[1]) for feat_ND in feat_2ND]
    metadata = {**about, "draw": str(number), _CHECKSUM: _checksum(row_N, *feat_2ND)}
    table = pa.table([pa.array(row_N), *features], names=["row", *COLUMNS]).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    write_bytes(file_of_draw(folder, number), sink.getvalue().to_pybytes())


class TeacherFeatures:
    """Looks up the features of batches: epoch e has draw number e mod `num_draws`; safe for many threads."""

    def __init__(self, folder: Location, num_draws: int) -> None:
        """Open the first draw.

        Raises:
            DataError: it is missing or damaged.
        """
        self._folder, self._num_draws = folder, num_draws
        self._ranges = RangeReader()
        self._held: OrderedDict[int, _Draw] = OrderedDict()
        self._lock = threading.Lock()  # so that threads which need the same draw read it once
        self.feature_size = self._open(0).features[0].shape[1]

    def onto(self, batch: Batch, epoch: int) -> Batch:
        """Put the features under an epoch's draw beside the images, pinned if there is a CUDA device.

        Raises:
            DataError: the draw is missing or damaged, or lacks an image.
            StorageError: the store stayed away.
        """
        number = epoch % self._num_draws
        draw = self._open(number)
        row_B = batch.row_B.numpy()
        place_B = np.searchsorted(draw.row_N, row_B).clip(max=len(draw.row_N) - 1)
        if not np.array_equal(draw.row_N[place_B], row_B):
            raise self._unusable(number, "lacks images")
        taught_2BD = torch.from_numpy(np.stack([feat_ND[place_B] for feat_ND in draw.features]))
        if torch.cuda.is_available():
            taught_2BD = taught_2BD.pin_memory()
        return replace(batch, draw=number, taught_2BD=taught_2BD)

    def _open(self, number: int) -> _Draw:
        with self._lock:
            if number not in self._held:
                self._held[number] = self._read(number)
                while len(self._held) > MOST_OPEN:
                    self._held.popitem(last=False)
            self._held.move_to_end(number)
            return self._held[number]

    def _read(self, number: int) -> _Draw:
        file = file_of_draw(self._folder, number)
        try:
            content = self._ranges.read(file, 0, self._ranges.size(file))
            table = pa.ipc.open_file(pa.py_buffer(content)).read_all().combine_chunks()
        except NotFoundError:
            raise self._unusable(number, "is missing") from None
        except pa.ArrowInvalid:
            raise self._unusable(number, "is damaged") from None
        row_N = table["row"].to_numpy()
        features = tuple(
            column.flatten().to_numpy().reshape(len(row_N), -1)
            for column in (table[name].combine_chunks() for name in COLUMNS)
        )
        if table.schema.metadata.get(_CHECKSUM.encode()) != _checksum(row_N, *features).encode():
            raise self._unusable(number, "is damaged")
        return _Draw(row_N, features)

    def _unusable(self, number: int, why: str) -> DataError:
        file = file_of_draw(self._folder, number)
        return DataError(
            f"the teacher's features {file} {why}: delete what is there and call again, which computes it anew, "
            "or set teacher_draws=0"
        )


def _has_its_end(file: Location, ranges: RangeReader) -> bool:
    try:
        size = ranges.size(file)
        return bytes(ranges.read(file, max(0, size - len(_END)), len(_END))) == _END
    except NotFoundError:
        return False


def _checksum(*columns: NDArray[Any]) -> str:
    checksum = 0
    for column in columns:
        checksum = zlib.crc32(np.ascontiguousarray(column).data, checksum)
    return str(checksum)
