"""Try a tracking store out: write a run with a metric and a file, read both back, delete the run."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path

from rlq_ray.errors import TrackingError
from rlq_ray.tracking.address import shown_uri
from rlq_ray.tracking.mlflow_tracker import MlflowStore

EXPERIMENT = "rlq-doctor"
METRIC, FILE = "probe", "probe.txt"


def try_out(uri: str) -> None:
    """Write to a tracking store and read it back.

    Raises:
        TrackingError: it cannot be reached, refuses, or does not give back what was written.
    """
    store = MlflowStore(uri)
    run_id = store.create_run(store.ensure_experiment(EXPERIMENT), "probe")
    word = uuid.uuid4().hex
    tracker = store.attach(run_id)
    tracker.log_metrics({METRIC: 1.0}, step=0)
    tracker.log_text(FILE, word)
    lost = tracker.finish("FINISHED")
    if lost:
        raise TrackingError(f"tracking store {shown_uri(uri)} lost {lost} of 3 writings: see the lines above")
    with tempfile.TemporaryDirectory() as folder:
        came_back = store.download(run_id, FILE, Path(folder)).read_text()
    values = [point.value for point in store.metric_history(run_id, METRIC)]
    store.delete_run(run_id)
    if came_back != word or values != [1.0]:
        raise TrackingError(
            f"tracking store {shown_uri(uri)} gives back other things than were written: look at its log"
        )
