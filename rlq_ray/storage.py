"""Places by URI: a path, `file://…` or `s3://bucket/prefix`. The only code that knows of S3.

boto3 resolves the credentials (profiles, SSO, roles, environment, `AWS_ENDPOINT_URL`); pyarrow moves the bytes.
"""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow.fs as pafs

from rlq_ray.errors import StorageError, UsageError

CONNECT_TIMEOUT_S = 10
REQUEST_TIMEOUT_S = 60


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
        """Open the file system that holds this place.

        Raises:
            StorageError: no credentials for S3.
        """
        return pafs.LocalFileSystem() if self.is_local else _s3_filesystem()

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


def exists(place: Location) -> bool:
    """Tell whether there is a file or folder.

    Raises:
        StorageError: the place cannot be asked.
    """
    try:
        return place.filesystem().get_file_info(place.path).type != pafs.FileType.NotFound
    except OSError as error:
        raise StorageError(f"cannot reach {place}: {_reason(error)}; check the address and the credentials") from error


def read_bytes(place: Location) -> bytes:
    """Read a whole file.

    Raises:
        StorageError: missing or unreadable.
    """
    try:
        with place.filesystem().open_input_stream(place.path) as stream:
            return bytes(stream.read())
    except FileNotFoundError as error:
        raise StorageError(f"{place} does not exist: check the address") from error
    except OSError as error:
        raise StorageError(f"cannot read {place}: {_reason(error)}; check the address and the credentials") from error


def write_bytes(place: Location, content: bytes) -> None:
    """Write a whole file, so that a reader sees the old one or the new one and nothing between.

    Raises:
        StorageError: the place cannot be written.
    """
    filesystem = place.filesystem()
    try:
        if not place.is_local:  # an object appears whole when its upload is closed
            with filesystem.open_output_stream(place.path) as stream:
                stream.write(content)
            return
        target = Path(place.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
        try:
            part.write_bytes(content)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {place}: {_reason(error)}; check that it is writable") from error


def read_json(place: Location) -> Any:
    """Read a JSON file.

    Raises:
        StorageError: missing, unreadable or no JSON.
    """
    try:
        return json.loads(read_bytes(place))
    except ValueError as error:
        raise StorageError(f"{place} is not JSON ({error}): it is damaged; make it again") from error


def write_json(place: Location, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_bytes(place, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def list_files(folder: Location, suffix: str = "") -> list[Location]:
    """List the files below a folder whose names end with `suffix`, sorted by address; empty if there is no folder."""
    filesystem = folder.filesystem()
    try:
        infos = filesystem.get_file_info(pafs.FileSelector(folder.path, recursive=True, allow_not_found=True))
    except OSError as error:
        raise StorageError(f"cannot list {folder}: {_reason(error)}; check the address and the credentials") from error
    scheme = "file://" if folder.is_local else "s3://"
    found = [f"{scheme}{info.path}" for info in infos if info.type == pafs.FileType.File and info.path.endswith(suffix)]
    return [Location(uri) for uri in sorted(found)]


def delete_file(place: Location) -> None:
    """Delete a file; no error if there is none.

    Raises:
        StorageError: it cannot be deleted.
    """
    try:
        place.filesystem().delete_file(place.path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"cannot delete {place}: {_reason(error)}; check that it is writable") from error


def probe_writable(folder: Location) -> None:
    """Write, read back and delete a small file, so that a useless store is found before work begins.

    Raises:
        StorageError: it cannot be written or does not give back what was written.
    """
    probe, content = folder / f".probe-{uuid.uuid4().hex}", b"rlq"
    write_bytes(probe, content)
    if read_bytes(probe) != content:
        raise StorageError(f"{folder} gives back other bytes than were written: check the store")
    delete_file(probe)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).splitlines()[0]


def _s3_filesystem() -> pafs.FileSystem:
    import boto3  # here, because it takes half a second and only S3 needs it
    from botocore.exceptions import BotoCoreError

    try:
        session = boto3.Session()
        credentials = session.get_credentials()
        frozen = credentials.get_frozen_credentials() if credentials else None
    except BotoCoreError as error:
        raise StorageError(f"no S3 credentials ({error}): check AWS_PROFILE, or log in again") from error
    if frozen is None:
        raise StorageError("no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    parts = urlsplit(endpoint) if endpoint else None
    return pafs.S3FileSystem(
        access_key=frozen.access_key,
        secret_key=frozen.secret_key,
        session_token=frozen.token,
        region=session.region_name or "us-east-1",
        endpoint_override=parts.netloc if parts else None,
        scheme=parts.scheme if parts else "https",
        connect_timeout=CONNECT_TIMEOUT_S,
        request_timeout=REQUEST_TIMEOUT_S,
    )
