"""Objects of S3 that were opened: a bounded number is remembered, since opening one asks for its size first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from pyarrow import NativeFile

from rlq_ray.storage.s3 import S3Client


@dataclass(frozen=True)
class Handle:
    """An opened object; several threads may read from `file` by `read_at` or `get_stream`."""

    client: S3Client
    file: NativeFile
    size: int


class Handles:
    """The handles that were used last. They hold no connection; one that is dropped serves those who still have it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: OrderedDict[tuple[str, int], Handle] = OrderedDict()
        self._lock = threading.Lock()  # never held during a request

    def open(self, path: str, client: S3Client, lane: int) -> Handle:
        """Return the handle of `bucket/key` on a lane of a client, opened if need be.

        Raises:
            OSError: missing, or the store does not answer.
        """
        with self._lock:
            handle = self._held.get((path, lane))
            if handle and handle.client is client:  # another signs with keys that may be refused by now
                self._held.move_to_end((path, lane))
                return handle
        file = client.lanes[lane].open_input_file(path)
        handle = Handle(client, file, file.size())
        with self._lock:
            self._held[path, lane] = handle
            if len(self._held) > self._most:
                self._held.popitem(last=False)
        return handle

    def drop(self, path: str, lane: int) -> None:
        """Forget a handle, so that the next use asks the store what has become of the object."""
        with self._lock:
            self._held.pop((path, lane), None)
