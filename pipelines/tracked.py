"""A run of the tracker around a piece of work: begun before it, ended as it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rlq_ray.build_stamp import submitted_hash
from rlq_ray.config.load import flatten, to_dict
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.tracking import RunStatus, Tracker, describe_code, describe_environment, flatten_environment
from rlq_ray.tracking.mlflow_tracker import MlflowStore


@dataclass(frozen=True)
class TrackedRun:
    """A run that is being written down."""

    store: MlflowStore
    experiment_id: str
    run_id: str
    tracker: Tracker


def earlier_run(uri: str, experiment: str, name: str) -> str | None:
    """Find the run of this name that an earlier call began, so that this one goes on with it."""
    store = MlflowStore(uri)
    found = store.find_runs(store.ensure_experiment(experiment), name)
    return found[0].run_id if found else None


@contextlib.contextmanager
def tracked_run(
    uri: str,
    experiment: str,
    name: str,
    *,
    parent_run_id: str | None = None,
    run_id: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Iterator[TrackedRun]:
    """Begin a run, or go on with `run_id`, and end it as finished, failed or (by an interrupt) killed.

    Raises:
        TrackingError: the store cannot be reached.
    """
    store = MlflowStore(uri)
    experiment_id = store.ensure_experiment(experiment)
    run_id = run_id or store.create_run(experiment_id, name, parent_run_id, tags)
    tracker = store.attach(run_id)
    if submitted_hash():  # a run may go on in another job, with other code
        tracker.set_tags(flatten_environment(describe_code()))
    status: RunStatus = "FAILED"
    try:
        yield TrackedRun(store, experiment_id, run_id, tracker)
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):  # Ctrl-C or SIGTERM
        status = "KILLED"
        raise
    finally:
        tracker.finish(status)


def log_set_up(tracker: Tracker, config: ExperimentConfig, data_hashes: Mapping[str, str]) -> None:
    """Write what a training is started with: settings, environment, git commit, and the data sets' content hashes."""
    settings = to_dict(config)
    environment = describe_environment()
    tracker.log_params({key: str(value) for key, value in flatten(settings).items()})
    tracker.log_json("set-up/config.json", settings)
    tracker.log_json("set-up/environment.json", environment)
    hashes = {f"data.{role}.hash": value for role, value in data_hashes.items()}
    tracker.set_tags({**flatten_environment(environment), **hashes})
