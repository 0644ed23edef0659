"""Helpers of the tests that use real services."""

from __future__ import annotations

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
