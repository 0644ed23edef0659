"""Read a data set: its manifest and index at once, its images by row, through a bounded cache of row groups.

Knows no labels, classes or workers. Safe to use from several threads; pickles as its address.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from rlq_ray.data.index import Index, index_from_table
from rlq_ray.data.manifest import Manifest, ShardEntry, read_manifest
from rlq_ray.data.records import MASK_COLUMNS, ROWS_PER_GROUP, ImageRecord, table_to_records
from rlq_ray.errors import DataError, StorageError
from rlq_ray.storage import Location, locate, read_bytes

_IMAGE_COLUMN = "image.bytes"


@dataclass(frozen=True)
class EncodedImage:
    """The files of one row: JPEG or PNG, and PNG masks if they were asked for and exist."""

    source: str
    image: bytes
    shirt_mask: bytes | None = None
    trousers_mask: bytes | None = None
    clothes_mask: bytes | None = None


@dataclass(frozen=True)
class _RowGroup:
    images: pa.BinaryArray
    masks: tuple[pa.BinaryArray, ...]
    size_bytes: int


class _Shard:
    """An open Parquet file; a lock, since pyarrow's reader serves one thread at a time."""

    def __init__(self, data_set: Location, entry: ShardEntry) -> None:
        self.lock = threading.Lock()
        self._place, self._entry = data_set / entry.path, entry
        self._file: pq.ParquetFile | None = None

    def read_row_group(self, row_group: int, columns: list[str] | None) -> pa.Table:
        try:
            if self._file is None:
                self._file = self._open()
            return self._file.read_row_group(row_group, columns=columns, use_threads=False)
        except FileNotFoundError as error:
            raise DataError(f"{self._place} is gone: ingest the data set again") from error
        except OSError as error:
            self._file = None  # a store that is away may be back
            is_broken = self._place.is_local or isinstance(error, pa.ArrowException)
            reason = str(error).splitlines()[0]
            if is_broken:
                raise DataError(f"{self._place} is damaged ({reason}): ingest the data set again") from error
            raise StorageError(f"cannot read {self._place}: {reason}; check the store and the credentials") from error
        except pa.ArrowException as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{self._place} is damaged ({reason}): ingest the data set again") from error

    def _open(self) -> pq.ParquetFile:
        stream = self._place.filesystem().open_input_file(self._place.path)
        if stream.size() != self._entry.size_bytes:
            raise DataError(
                f"{self._place} has {stream.size()} bytes, the manifest says {self._entry.size_bytes}: "
                "it was changed; ingest the data set again"
            )
        return pq.ParquetFile(stream, pre_buffer=True, page_checksum_verification=True)


class DataSet:
    """An opened data set; row numbers name images."""

    def __init__(self, location: Location, manifest: Manifest, index: Index, cache_mb: int) -> None:
        self.location, self.manifest, self.index = location, manifest, index
        self._cache_bytes = cache_mb * 2**20
        self._shards = [_Shard(location, entry) for entry in manifest.shards]
        self._groups: OrderedDict[tuple[int, int, bool], _RowGroup] = OrderedDict()
        self._held_bytes = 0
        self._cache_lock = threading.Lock()

    @classmethod
    def open(cls, uri: str | Location, *, cache_mb: int = 512) -> DataSet:
        """Read the manifest and the index; `cache_mb` bounds the MiB of encoded row groups kept in memory.

        Raises:
            DataError: there is no data set, or its index is damaged.
            StorageError: the place cannot be reached.
        """
        location = uri if isinstance(uri, Location) else locate(uri)
        manifest = read_manifest(location)
        content = read_bytes(location / manifest.index.path)
        if hashlib.sha256(content).hexdigest() != manifest.index.sha256:
            raise DataError(f"{location / manifest.index.path} is damaged: ingest the data set again")
        index = index_from_table(pq.read_table(io.BytesIO(content)), ROWS_PER_GROUP)
        return cls(location, manifest, index, cache_mb)

    def __reduce__(self) -> tuple[object, ...]:
        return _reopen, (self.location, self._cache_bytes // 2**20)

    def __len__(self) -> int:
        return len(self.index)

    def read_rows(self, rows: Sequence[int], *, masks: bool = False) -> list[EncodedImage]:
        """Read the images of some rows, in their order; masks only when asked for.

        Raises:
            DataError: a shard is damaged, changed or gone.
        """
        return [self.read_row(int(row), masks=masks) for row in rows]

    def read_row(self, row: int, *, masks: bool = False) -> EncodedImage:
        """Read the image of one row.

        Raises:
            DataError: its shard is damaged, changed or gone.
        """
        index = self.index
        group = self._group(int(index.shard[row]), int(index.row_group[row]), masks)
        at = int(index.row_in_group[row])
        return EncodedImage(
            str(index.source[row]), group.images[at].as_py(), *(mask[at].as_py() for mask in group.masks)
        )

    def read_records(self, shard: int) -> Iterator[ImageRecord]:
        """Read everything of one shard, row group by row group.

        Raises:
            DataError: the shard is damaged, changed or gone.
        """
        for row_group in range(self.manifest.shards[shard].row_groups):
            with self._shards[shard].lock:
                table = self._shards[shard].read_row_group(row_group, None)
            yield from table_to_records(table)

    def verify(self) -> None:
        """Read every shard whole and compare it with the manifest.

        Raises:
            DataError: a shard was changed.
            StorageError: a shard is gone.
        """
        for entry in self.manifest.shards:
            if hashlib.sha256(read_bytes(self.location / entry.path)).hexdigest() != entry.sha256:
                raise DataError(f"{self.location / entry.path} was changed: ingest the data set again")

    def _group(self, shard: int, row_group: int, masks: bool) -> _RowGroup:
        key = (shard, row_group, masks)
        if (held := self._held(key)) is not None:
            return held
        with self._shards[shard].lock:
            if (held := self._held(key)) is not None:  # another thread read it while this one waited
                return held
            columns = [_IMAGE_COLUMN, *(MASK_COLUMNS if masks else ())]
            table = self._shards[shard].read_row_group(row_group, columns).combine_chunks()
        images = table["image"].chunk(0).field("bytes")
        group = _RowGroup(images, tuple(table[name].chunk(0) for name in table.column_names[1:]), table.nbytes)
        self._keep(key, group)
        return group

    def _held(self, key: tuple[int, int, bool]) -> _RowGroup | None:
        with self._cache_lock:
            if key in self._groups:
                self._groups.move_to_end(key)
            return self._groups.get(key)

    def _keep(self, key: tuple[int, int, bool], group: _RowGroup) -> None:
        with self._cache_lock:
            if key in self._groups:
                return
            self._groups[key] = group
            self._held_bytes += group.size_bytes
            while self._held_bytes > self._cache_bytes and len(self._groups) > 1:
                _, dropped = self._groups.popitem(last=False)
                self._held_bytes -= dropped.size_bytes


def _reopen(location: Location, cache_mb: int) -> DataSet:
    return DataSet.open(location, cache_mb=cache_mb)
