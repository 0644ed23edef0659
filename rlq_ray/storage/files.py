"""Whole files, wherever they lie: read, write, list, delete, try out. Knows nothing of what is in them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.fs as pafs

from rlq_ray.errors import NotFoundError, StorageError
from rlq_ray.storage.faults import Fault, fault_of, pauses_s, reason_of
from rlq_ray.storage.places import Location
from rlq_ray.storage.s3 import renew, s3_client

HICCUP_S = 15.0
"""A store that is away for longer is told of: somebody waits for it. pyarrow's own tries come on top."""

T = TypeVar("T")


def exists(place: Location) -> bool:
    """Tell whether there is a file or folder.

    Raises:
        StorageError: the place cannot be asked.
    """
    try:
        info = _through_hiccups(place, lambda filesystem: filesystem.get_file_info(place.path))
        return bool(info.type != pafs.FileType.NotFound)
    except OSError as error:
        raise StorageError(
            f"cannot reach {place}: {reason_of(error)}; check the address and the credentials"
        ) from error


def read_bytes(place: Location) -> bytes:
    """Read a whole file.

    Raises:
        NotFoundError: no such file or bucket.
        StorageError: unreadable.
    """

    def read(filesystem: pafs.FileSystem) -> bytes:
        with filesystem.open_input_stream(place.path) as stream:
            return bytes(stream.read())

    try:
        return _through_hiccups(place, read)
    except FileNotFoundError as error:
        raise NotFoundError(f"{place} does not exist: check the address") from error
    except OSError as error:
        raise StorageError(f"cannot read {place}: {reason_of(error)}; check address and credentials") from error


def write_bytes(place: Location, content: bytes) -> None:
    """Write a whole file, so that a reader sees the old one or the new one and nothing between.

    Raises:
        StorageError: the place cannot be written.
    """

    def write_file(_: pafs.FileSystem) -> None:
        target = Path(place.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
        try:
            part.write_bytes(content)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def write_object(filesystem: pafs.FileSystem) -> None:
        with filesystem.open_output_stream(place.path) as stream:  # an object appears whole when its upload is closed
            stream.write(content)

    try:
        _through_hiccups(place, write_file if place.is_local else write_object)
    except OSError as error:
        raise StorageError(f"cannot write {place}: {reason_of(error)}; check that it is writable") from error


def read_json(place: Location) -> Any:
    """Read a JSON file.

    Raises:
        StorageError: missing, unreadable or no JSON.
    """
    # pyarrow asks S3 for the size, then for so many bytes: of a longer file that took its place between, for a part.
    tries_left = 10
    while True:
        try:
            return json.loads(read_bytes(place))
        except ValueError as error:
            tries_left -= 1
            if not tries_left:
                raise StorageError(f"{place} is not JSON ({error}): it is damaged; make it again") from error


def write_json(place: Location, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_bytes(place, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def list_files(folder: Location, suffix: str = "") -> list[Location]:
    """List the files below a folder whose names end with `suffix`, sorted by address; empty if there is no folder."""
    selector = pafs.FileSelector(folder.path, recursive=True, allow_not_found=True)
    try:
        infos = _through_hiccups(folder, lambda filesystem: filesystem.get_file_info(selector))
    except OSError as error:
        raise StorageError(
            f"cannot list {folder}: {reason_of(error)}; check the address and the credentials"
        ) from error
    scheme = "file://" if folder.is_local else "s3://"
    found = [f"{scheme}{info.path}" for info in infos if info.type == pafs.FileType.File and info.path.endswith(suffix)]
    return [Location(uri) for uri in sorted(found)]


def delete_file(place: Location) -> None:
    """Delete a file; no error if there is none.

    Raises:
        StorageError: it cannot be deleted.
    """
    try:
        _through_hiccups(place, lambda filesystem: filesystem.delete_file(place.path))
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"cannot delete {place}: {reason_of(error)}; check that it is writable") from error


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


def _through_hiccups(place: Location, act: Callable[[pafs.FileSystem], T]) -> T:
    """Do it with the file system of a place, in S3 again while the fault may pass; keys that are refused are renewed.

    Raises:
        OSError: of the last try.
    """
    if place.is_local:
        return act(place.filesystem())
    give_up_s = time.monotonic() + HICCUP_S
    is_renewed = False
    pauses = pauses_s()
    while True:
        client = s3_client(place.path.partition("/")[0])
        try:
            return act(client.lanes[0])
        except OSError as error:
            fault, pause_s = fault_of(error), next(pauses)
            if fault is Fault.REFUSED and not is_renewed and renew(client):
                is_renewed = True
            elif fault is Fault.PASSING and time.monotonic() + pause_s < give_up_s:
                time.sleep(pause_s)
            else:
                raise
