"""Examine everything that a run needs: each place gets a probe written and read back, and what fails names its mend."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from cluster.stack.card import read_stack, stack_folder
from cluster.stack.states import stack_states
from cluster.versions import compare, versions
from pipelines.places import Places, find_places
from pipelines.stack_use import take_up_stack
from rlq_ray.errors import RlqError, ServiceError, UsageError
from rlq_ray.storage import probe_writable

PACKAGE = "rlq-ray"
ROOM_GB = {"rlq-data": 2.0, "/tmp": 1.0, "/dev/shm": 0.3}
"""Free space that a small training needs: its data and checkpoints, Ray's logs, Ray's object store."""


@dataclass(frozen=True)
class Finding:
    """What an examination found: `text` says what is there or, if it is not well, what is wrong and the mend."""

    name: str
    is_well: bool
    text: str


def examine(store: str | None = None, tracking_uri: str | None = None) -> Iterator[Finding]:
    """Examine versions, disk, stack, store, tracking and Ray, in this order; yields as it goes."""
    yield _finding("versions", _versions)
    yield _finding("disk", _disk)
    yield _finding("stack", _stack)
    try:
        take_up_stack()
        places = find_places(store=store, tracking_uri=tracking_uri)
    except RlqError as error:
        yield Finding("places", False, str(error))
        return
    yield _finding("storage", lambda: _storage(places))
    yield _finding("tracking", lambda: _tracking(places))
    yield _finding("ray", lambda: _ray(places))


def _finding(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, look())
    except RlqError as error:
        return Finding(name, False, str(error))


def _versions() -> str:
    for text in metadata.requires(PACKAGE) or []:
        needed = Requirement(text)
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            have = _version(needed.name)
            if have is None or not needed.specifier.contains(have, prereleases=True):
                raise UsageError(f"{needed.name} is {have or 'missing'}, not {needed.specifier}: pip install '{text}'")
    return ", ".join(f"{name} {version}" for name, version in {**versions(), "mlflow": _version("mlflow")}.items())


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _disk() -> str:
    parts = []
    for name, needed_gb in ROOM_GB.items():
        there = next(path for path in (Path(name).absolute(), *Path(name).absolute().parents) if path.exists())
        free_gb = shutil.disk_usage(there).free / 2**30
        if free_gb < needed_gb:
            raise ServiceError(f"only {free_gb:.1f} GB are free at {there}, {needed_gb:g} are needed: make room there")
        parts.append(f"{free_gb:.0f} GB free at {name}")
    return ", ".join(parts)


def _stack() -> str:
    folder = stack_folder()
    card = read_stack(folder)
    if folder is None or card is None:
        return "none is up here; `rlq up` starts one"
    for path in (card.credentials_path, card.token_path):
        if not path.exists() or stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ServiceError(f"{path} is missing or open to others: `rlq up` mends it")
    states = stack_states(folder)
    bad = [f"the {state.title} is {state.state} (log: {state.log})" for state in states if state.state != "running"]
    if bad:
        raise ServiceError(f"{'; '.join(bad)}: `rlq up` mends it")
    return f"{', '.join(state.title for state in states)} run, from {folder}"


def _storage(places: Places) -> str:
    probe_writable(places.store)
    return f"{places.store} gives back what is written"


def _tracking(places: Places) -> str:
    from rlq_ray.tracking.address import shown_uri
    from rlq_ray.tracking.round_trip import try_out

    try_out(places.tracking_uri)
    return f"{shown_uri(places.tracking_uri)} gives back what is written"


def _ray(places: Places) -> str:
    from cluster.ray_local import session
    from cluster.ray_probe import ask_worker
    from rlq_ray.distributed.driver import describe_nodes

    with session(places.ray_address) as found:
        report = ask_worker(places.store.uri, places.tracking_uri)
        nodes = describe_nodes()
    if differing := compare(versions(), report.versions):
        raise ServiceError(f"{'; '.join(differing)} on the workers: install the same on both sides")
    if report.store_error or report.tracking_error:
        raise ServiceError(f"a worker fails where this machine does not: {report.store_error or report.tracking_error}")
    where = "one of its own, started for a command" if found.is_own else found.address
    return f"{where}: {nodes}; a worker reads and writes the store and the tracking server"
