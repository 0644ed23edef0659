"""Helpers of the tests that use real services."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlq_ray.tracking import default_uri


@pytest.fixture(scope="session")
def sqlite_uri(service_folder: Path) -> str:
    """One SQLite store for all tests: making its tables takes seconds."""
    return default_uri(service_folder / "sqlite")


@pytest.fixture(params=["mlflow_server", "sqlite_uri"])
def tracking_uri(request: pytest.FixtureRequest) -> str:
    """A tracking store: a real server, then a SQLite file."""
    found = request.getfixturevalue(request.param)
    return found if isinstance(found, str) else found.uri


@pytest.fixture
def train_workers(service_folder: Path) -> Callable[[], list[int]]:
    """Find the pids of the Ray Train workers that belong to this test session's cluster."""

    def find() -> list[int]:
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    title = (folder / "cmdline").read_bytes()
                    files = {str(link.readlink()) for link in (folder / "fd").iterdir()}
                except OSError:
                    continue
                if title.startswith(b"ray::RayTrainWorker") and any(str(service_folder) in file for file in files):
                    found.append(int(folder.name))
        return found

    return find
