"""Whole files, wherever they lie: read, write, list, delete, try out. Knows nothing of what is in them."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from rlq_ray.errors import NotFoundError, StorageError
from rlq_ray.storage.faults import reason_of
from rlq_ray.storage.places import Location


def exists(place: Location) -> bool:
    """Tell whether there is a file or folder.

    Raises:
        StorageError: the place cannot be asked.
    """
    try:
        return place.filesystem().get_file_info(place.path).type != pafs.FileType.NotFound
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
    try:
        with place.filesystem().open_input_stream(place.path) as stream:
            return bytes(stream.read())
    except FileNotFoundError as error:
        raise NotFoundError(f"{place} does not exist: check the address") from error
    except OSError as error:
        raise StorageError(f"cannot read {place}: {reason_of(error)}; check address and credentials") from error


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
        raise StorageError(f"cannot write {place}: {reason_of(error)}; check that it is writable") from error


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
        place.filesystem().delete_file(place.path)
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
