"""Read a data set: its manifest and index at once, its images by row, through row groups held in memory.

An image lies in its shard byte for byte, and the index says where, so a row group's images are one range of a file:
fetched in one request, checked, and handed on in slices, without parsing. Knows no labels, classes or workers. Safe to
use from several threads; pickles as its address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from isal.isal_zlib import crc32
from numpy.typing import NDArray

from rlq_ray.data.disk_cache import DiskCache, default_folder
from rlq_ray.data.index import Index, Texts, index_from_table
from rlq_ray.data.manifest import Manifest, read_manifest
from rlq_ray.data.open_groups import GroupKey, OpenGroups
from rlq_ray.data.records import MASK_COLUMNS, RANGES_SCHEMA, ImageRecord, table_to_records
from rlq_ray.errors import DataError, NotFoundError
from rlq_ray.storage import Content, Location, RangeReader, ReadCounts, locate, read_bytes

DEFAULT_CACHE_MB = 512


class EncodedImage(NamedTuple):
    """The files of one row: JPEG or PNG, and PNG masks if they were asked for and exist; views of their row group.

    Its text is its source, which is looked up only then: errors alone need it.
    """

    row: int
    sources: Texts
    image: memoryview
    shirt_mask: memoryview | None = None
    trousers_mask: memoryview | None = None
    clothes_mask: memoryview | None = None

    def __str__(self) -> str:
        return self.sources[self.row]


class DataSet:
    """An opened data set; row numbers name images."""

    def __init__(
        self, location: Location, manifest: Manifest, index: Index, *, cache_mb: float, disk_cache_mb: int
    ) -> None:
        self.location, self.manifest, self.index = location, manifest, index
        self._bounds: dict[str, Any] = {"cache_mb": cache_mb, "disk_cache_mb": disk_cache_mb}
        self.cache_bytes = int(cache_mb * 2**20)
        self._groups = OpenGroups(self._fetch, self.cache_bytes)
        self._ranges = RangeReader()
        self._start_of_group = index.files["image"].offset[index.first_row[:-1]]
        self._is_checked = np.zeros(len(manifest.shards), dtype=np.bool_)
        self._disk: DiskCache | None = None
        if disk_cache_mb and not location.is_local:
            self._disk = DiskCache(default_folder(), location.uri, disk_cache_mb * 2**20)
            self._disk.retain({entry.sha256[:16] for entry in manifest.shards})

    @classmethod
    def open(cls, uri: str | Location, *, cache_mb: float = DEFAULT_CACHE_MB, disk_cache_mb: int = 0) -> DataSet:
        """Read the manifest and the index.

        `cache_mb` bounds the MiB of row groups kept in memory; `disk_cache_mb` those kept on this node's disk, shared
        by its processes, if the data set lies elsewhere.

        Raises:
            DataError: there is no data set, or its index is damaged.
            StorageError: the place cannot be reached.
        """
        location = uri if isinstance(uri, Location) else locate(uri)
        manifest = read_manifest(location)
        index = index_from_table(read_index(location, manifest))
        return cls(location, manifest, index, cache_mb=cache_mb, disk_cache_mb=disk_cache_mb)

    def __reduce__(self) -> tuple[object, ...]:
        return _reopen, (self.location, self._bounds)

    def __len__(self) -> int:
        return len(self.index)

    def read_rows(self, rows: Iterable[int], *, masks: bool = False) -> list[EncodedImage]:
        """Read the images of some rows, in their order; masks only when asked for.

        Raises:
            DataError: a shard is damaged, changed or gone.
            StorageError: the store cannot be read.
        """
        row_N = np.asarray(rows if isinstance(rows, Sequence | np.ndarray) else list(rows), dtype=np.int64)
        groups = self.index.group[row_N].tolist()
        contents = {group: memoryview(self._groups.get(GroupKey(group, masks))) for group in set(groups)}
        columns = [self._cut(contents, groups, row_N, column) for column in ("image", *(MASK_COLUMNS if masks else ()))]
        return list(map(EncodedImage, row_N.tolist(), repeat(self.index.source), *columns))

    def read_row(self, row: int, *, masks: bool = False) -> EncodedImage:
        """Read the image of one row; `read_rows` says what it raises."""
        return self.read_rows([row], masks=masks)[0]

    def request(self, key: GroupKey, pool: Executor) -> None:
        """Have a row group read by a thread of the pool, so that it is there when its rows are read."""
        self._groups.request(key, pool)

    def release(self, key: GroupKey) -> None:
        """Forget a row group whose rows are not needed for long."""
        self._groups.release(key)

    def abandon_reads(self) -> None:
        """Let reads that are under way fail soon instead of trying on; nobody waits for them any more."""
        self._ranges.abandon()

    @property
    def held_bytes(self) -> int:
        """Bytes of row groups that are held in memory now."""
        return self._groups.held_bytes

    def counts(self) -> ReadCounts:
        """Count what was read from the store so far."""
        return self._ranges.counts()

    def read_records(self, shard: int) -> Iterator[ImageRecord]:
        """Read everything of one shard, row group by row group.

        Raises:
            DataError: the shard is damaged, changed or gone.
            StorageError: the store cannot be read.
        """
        entry = self.manifest.shards[shard]
        content = self._read(shard, 0, entry.size_bytes)
        try:
            file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
            for row_group in range(file.num_row_groups):
                yield from table_to_records(file.read_row_group(row_group, use_threads=False))
        except (OSError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{self._place(shard)} is damaged ({reason}): ingest the data set again") from error

    def _cut(
        self, contents: Mapping[int, memoryview], groups: Sequence[int], row_N: NDArray[np.int64], column: str
    ) -> list[memoryview | None]:
        """Cut the files of some rows out of their row groups."""
        ranges = self.index.files.get(column)
        if ranges is None:
            return [None] * len(row_N)
        begins = (ranges.offset[row_N] - self._start_of_group[groups]).tolist()
        sizes = ranges.size[row_N].tolist()
        return [
            contents[group][begin : begin + size] if size else None
            for group, begin, size in zip(groups, begins, sizes, strict=True)
        ]

    def _span(self, key: GroupKey) -> tuple[int, int]:
        """Find the bytes from the first image of a row group to the last, or to its last mask."""
        rows = slice(*self.index.first_row[key.group : key.group + 2].tolist())
        files = self.index.files.values() if key.masks else (self.index.files["image"],)
        ends = [((ranges.offset[rows] + ranges.size[rows]) * (ranges.size[rows] > 0)).max() for ranges in files]
        return int(self._start_of_group[key.group]), int(max(ends))

    def group_bytes(self, groups: NDArray[np.int32], *, masks: bool) -> int:
        """Add up what some row groups take in memory."""
        spans = (self._span(GroupKey(group, masks)) for group in groups.tolist())
        return sum(end - start for start, end in spans)

    def _fetch(self, key: GroupKey) -> Content:
        shard = int(self.index.shard_of_group[key.group])
        if self._disk is None:
            return self._fetch_from_store(shard, key)
        name = f"{self.manifest.shards[shard].sha256[:16]}-{self.index.row_group(key.group)}"
        return self._disk.get(
            f"{name}-masks" if key.masks else name,
            lambda: self._fetch_from_store(shard, key),
            lambda content: self._is_sound(content, key),
        )

    def _fetch_from_store(self, shard: int, key: GroupKey) -> memoryview:
        start, end = self._span(key)
        content = self._read(shard, start, end - start)
        if not self._is_sound(content, key):
            content = self._read(shard, start, end - start)  # the line may have done it
        if not self._is_sound(content, key):
            raise DataError(
                f"{self._place(shard)} is damaged (checksum of row group {self.index.row_group(key.group)}): "
                "ingest the data set again"
            )
        return content

    def _is_sound(self, content: Content, key: GroupKey) -> bool:
        """Tell whether images and masks are as they were ingested."""
        start, end = self._span(key)
        images_end = self._span(GroupKey(key.group, masks=False))[1]
        view = memoryview(content)
        return (
            len(content) == end - start
            and crc32(view[: images_end - start]) == self.index.images_crc32[key.group]
            and (not key.masks or crc32(view[images_end - start :]) == self.index.masks_crc32[key.group])
        )

    def _read(self, shard: int, start: int, size: int) -> memoryview:
        """Read a range of a shard, which must be as long as the manifest says."""
        place, expected = self._place(shard), self.manifest.shards[shard].size_bytes
        try:
            if not self._is_checked[shard]:
                actual = self._ranges.size(place)
                if actual != expected:
                    raise DataError(
                        f"{place} has {actual} bytes, the manifest says {expected}: it was cut off or changed; "
                        "ingest the data set again"
                    )
                self._is_checked[shard] = True
            return self._ranges.read(place, start, size)
        except NotFoundError as error:
            raise DataError(f"{place} is gone: ingest the data set again") from error

    def _place(self, shard: int) -> Location:
        return self.location / self.manifest.shards[shard].path


def read_index(location: Location, manifest: Manifest) -> pa.Table:
    """Read the index file of a data set, all of its columns; no image of an older one is marked as a plain JPEG.

    Raises:
        DataError: it is damaged.
        StorageError: it cannot be read.
    """
    content = read_bytes(location / manifest.index.path)
    if hashlib.sha256(content).hexdigest() != manifest.index.sha256:
        raise DataError(f"{location / manifest.index.path} is damaged: ingest the data set again")
    table = pq.read_table(pa.BufferReader(content))
    if "plain_jpeg" in table.column_names:
        return table
    place = table.column_names.index("masks_crc32") + 1
    return table.add_column(place, RANGES_SCHEMA.field("plain_jpeg"), pa.array(np.zeros(len(table), np.bool_)))


def _reopen(location: Location, bounds: dict[str, Any]) -> DataSet:
    return DataSet.open(location, **bounds)
