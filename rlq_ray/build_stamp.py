"""Which code a process runs: a hash over the package's files, and the stamp that a wheel made for a job carries.

Read by who sends code and by who runs it. Imports nothing of the house but its errors.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rlq_ray.errors import PackageError

PARTS = ("cluster", "pipelines", "rlq_ray", "tuning")
"""The folders that make up the package; they lie side by side, in a checkout and wherever a wheel was unpacked."""
STAMP = "rlq_ray/build_stamp.json"
HASH_VARIABLE = "RLQ_PACKAGE_HASH"
"""In the environment of a job: the hash of the code that was sent."""
JOB_VARIABLE = "RLQ_JOB_ID"
SHORT = 12
"""Digits of a hash or commit that people are shown."""


@dataclass(frozen=True)
class BuildStamp:
    """What a wheel was made of: version, commit if there was one, whether files differed from it, and their hash."""

    version: str
    commit: str | None
    dirty: bool
    content_hash: str

    def to_json(self) -> bytes:
        """Return the text of the stamp's file."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()


def package_root() -> Path:
    """Return the folder that holds the imported package's parts."""
    return Path(__file__).resolve().parents[1]


def package_files(root: Path) -> list[str]:
    """Name the package's files in a folder, relative to it, without the stamp and what Python makes of them."""
    paths = (path for part in PARTS for path in (root / part).rglob("*") if "__pycache__" not in path.parts)
    return sorted(name for path in paths if path.is_file() and (name := path.relative_to(root).as_posix()) != STAMP)


def hash_files(files: Mapping[str, bytes]) -> str:
    """Hash files by their names and contents, in whatever order they come."""
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(f"{name}\0{hashlib.sha256(files[name]).hexdigest()}\n".encode())
    return total.hexdigest()


@functools.cache
def content_hash() -> str:
    """Hash the files of the imported package, once per process."""
    root = package_root()
    return hash_files({name: (root / name).read_bytes() for name in package_files(root)})


def read_stamp(root: Path | None = None) -> BuildStamp | None:
    """Return the stamp of the package in a folder, by default of the imported one; None if it has none."""
    try:
        return BuildStamp(**json.loads(((root or package_root()) / STAMP).read_bytes()))
    except FileNotFoundError:
        return None


def submitted_hash() -> str | None:
    """Return the hash of the code that this job was submitted with; None outside a job."""
    return os.environ.get(HASH_VARIABLE)


def require_package(expected: str | None) -> None:
    """Make sure that this process runs the code with a hash; any code will do where none is expected.

    Raises:
        PackageError: its files are others.
    """
    if expected is not None and (own := content_hash()) != expected:
        raise PackageError(
            f"node {platform.node()} imports other code than was submitted: hash {own[:SHORT]} in {package_root()}, "
            f"not {expected[:SHORT]}; delete that folder or restart Ray on the node, and submit again"
        )
