"""Places by URI: a path, `file://…` or `s3://bucket/prefix`. Plain values, without a connection."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow.fs as pafs

from rlq_ray.errors import UsageError
from rlq_ray.storage.s3 import s3_client


@dataclass(frozen=True)
class Location:
    """A file or folder on a file system; pickles, so that it can travel to workers.

    `path` is what pyarrow wants: absolute for files, `bucket/key` for S3. `uri` is what people read.
    """

    uri: str

    @property
    def is_local(self) -> bool:
        """Whether it lies on a mounted disk."""
        return not self.uri.startswith("s3://")

    @property
    def path(self) -> str:
        """What its file system calls it."""
        return self.uri.removeprefix("file://") if self.is_local else self.uri.removeprefix("s3://")

    def filesystem(self) -> pafs.FileSystem:
        """Open the file system that holds this place; of S3, with the keys of now, so use it at once.

        Raises:
            StorageError: no credentials for S3.
        """
        return pafs.LocalFileSystem() if self.is_local else s3_client(self.path.partition("/")[0]).lanes[0]

    def __truediv__(self, name: str) -> Location:
        return Location(f"{self.uri.rstrip('/')}/{name}")

    def __str__(self) -> str:
        return self.uri


def locate(uri: str | os.PathLike[str]) -> Location:
    """Turn a URI or path into a place.

    Raises:
        UsageError: a scheme other than `file` and `s3`, or an S3 URI without a bucket.
    """
    text = os.fspath(uri)
    if "://" not in text:
        return Location(f"file://{Path(text).expanduser().absolute()}")
    parts = urlsplit(text)
    if parts.scheme == "file":
        return Location(f"file://{Path(unquote(parts.path)).absolute()}")
    if parts.scheme != "s3":
        raise UsageError(f"cannot reach '{text}': use a path, file://… or s3://bucket/prefix")
    if not parts.netloc:
        raise UsageError(f"'{text}' names no bucket: write s3://bucket/prefix")
    return Location(text.rstrip("/"))
