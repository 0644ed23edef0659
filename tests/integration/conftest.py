"""Helpers of the tests that use real services."""

from __future__ import annotations

import pytest

from rlq_ray.tracking import default_uri


@pytest.fixture(params=["server", "sqlite"])
def tracking_uri(request: pytest.FixtureRequest, tmp_path) -> str:
    """A tracking store: a real server, then a SQLite file."""
    return request.getfixturevalue("mlflow_server").uri if request.param == "server" else default_uri(tmp_path)
