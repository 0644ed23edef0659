"""The register of runs in a store: `runs/NAME/run.json`, written by the driver; a name is used once unless resumed."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rlq_ray.config.load import flatten
from rlq_ray.errors import CheckpointError, UsageError
from rlq_ray.storage import Location, exists, list_files, read_json, write_json

MAY_CHANGE = (
    *("workers.", "train.epochs", "train.log_every_steps", "data.decode_threads", "data.prefetch", "data.cache"),
    *("data.read_", "data.disk_cache", "evaluate.test_curve"),
)
"""Settings with which a run may go on differently."""

RunState = Literal["running", "finished", "failed", "stopped", "diverged", "stopped early"]
"""`stopped` by a person or a lost machine, to be gone on with; `stopped early` by a sweep, for good."""


@dataclass(frozen=True)
class RunEntry:
    """One run: its configuration, its MLflow run, and its best checkpoint and that one's metrics once it has ended.

    `reason` says why a training of a sweep ended without being finished.
    """

    name: str
    state: RunState
    config: dict[str, Any]
    mlflow_run_id: str | None = None
    checkpoint: str | None = None
    epoch: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    reason: str = ""


def runs_folder(store: Location) -> Location:
    """Where the runs of a store lie."""
    return store / "runs"


def find_run(store: Location, name: str) -> RunEntry | None:
    """Read a run's entry; None if the name is free."""
    file = runs_folder(store) / name / "run.json"
    return RunEntry(**read_json(file)) if exists(file) else None


def list_runs(store: Location) -> list[str]:
    """List the names of all runs, sorted."""
    folder = runs_folder(store)
    files = list_files(folder, "/run.json")
    return [file.uri.removeprefix(f"{folder.uri}/").removesuffix("/run.json") for file in files]


def keep_run(store: Location, entry: RunEntry) -> None:
    """Write a run's entry."""
    write_json(runs_folder(store) / entry.name / "run.json", asdict(entry))


def claim_name(store: Location, name: str, config: dict[str, Any], *, resume: bool) -> RunEntry:
    """Take a free name, or go on with a run of the same configuration.

    Raises:
        UsageError: the name is taken, or there is nothing to resume, or the configuration is another.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(f"'{name}' cannot name a run: use letters, digits, '.', '_' and '-'")
    found = find_run(store, name)
    if found is None:
        if resume:
            raise UsageError(f"there is no run '{name}' in {store} to resume: check --name, or leave out --resume")
        entry = RunEntry(name, "running", config)
        keep_run(store, entry)
        return entry
    if not resume:
        raise UsageError(f"the run '{name}' exists in {store}: take another --name, or go on with it by --resume")
    ours, theirs = flatten(config), flatten(found.config)
    changed = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key) and not key.startswith(MAY_CHANGE)]
    if changed:
        raise UsageError(
            f"the run '{name}' was started with another '{changed[0]}': resume it with the same settings, "
            "or take another --name"
        )
    return found


def resolve_checkpoint(store: Location, name_or_uri: str) -> str:
    """Turn the name of a finished run, or a checkpoint's own URI, into a checkpoint's URI.

    Raises:
        CheckpointError: the run has no checkpoint yet.
    """
    if "/" in name_or_uri:
        return name_or_uri
    entry = find_run(store, name_or_uri)
    if entry is None:
        raise CheckpointError(f"there is no run '{name_or_uri}' in {store}: give a run's name or a checkpoint's URI")
    if entry.checkpoint is None:
        raise CheckpointError(f"the run '{name_or_uri}' is {entry.state} and has no best checkpoint: finish it first")
    return entry.checkpoint
