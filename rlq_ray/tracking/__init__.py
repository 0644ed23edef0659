"""Where runs write down what they measured; knows neither Ray nor the training loop.

MLflow takes a second to import, so `mlflow_tracker` is imported by those who need it and not here.
"""

import os

# Read when mlflow is imported: it would otherwise report its use over the network and print links on stdout.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

from rlq_ray.tracking.address import default_uri, shown_uri
from rlq_ray.tracking.base import MetricPoint, NullTracker, RunRecord, RunStatus, Tracker
from rlq_ray.tracking.environment import describe_code, describe_environment, flatten_environment

__all__ = [
    "MetricPoint",
    "NullTracker",
    "RunRecord",
    "RunStatus",
    "Tracker",
    "default_uri",
    "describe_code",
    "describe_environment",
    "flatten_environment",
    "shown_uri",
]
