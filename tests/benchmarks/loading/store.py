"""The few S3 calls that the contenders' preparations need; the endpoint and the keys come from `AWS_*`."""

from __future__ import annotations

from pathlib import Path

import pyarrow.fs as pafs


def upload_folder(folder: str | Path, uri: str) -> None:
    """Copy the files of a folder below a prefix."""
    pafs.copy_files(str(folder), uri)


def list_objects(uri: str) -> list[str]:
    """List what lies below a prefix, sorted."""
    filesystem, path = pafs.FileSystem.from_uri(uri)
    found = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
    return sorted(f"s3://{info.path}" for info in found if info.type == pafs.FileType.File)
