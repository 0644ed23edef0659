"""Which failures of a tracking server a training waits for, and which it does not."""

from __future__ import annotations

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE

from rlq_ray.tracking.passing import is_passing


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ConnectionError("refused"), True),
        (MlflowException("the database is locked", TEMPORARILY_UNAVAILABLE), True),
        (MlflowException("QueuePool limit of size 5 overflow 10 reached, connection timed out", BAD_REQUEST), True),
        (MlflowException("no such column", BAD_REQUEST), False),
        (MlflowException("a name of 300 characters", INVALID_PARAMETER_VALUE), False),
        (ValueError("ours"), False),
    ],
)
def test_what_may_go_away_is_waited_for(error: Exception, passes: bool) -> None:
    assert is_passing(error) is passes
