"""A report by its name: that of a run, or that of a sweep, as one page; what is neither is told what there is."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pipelines.places import Places
from rlq_ray.distributed.runs import find_run, list_runs
from rlq_ray.errors import UsageError
from rlq_ray.storage import locate, write_bytes
from tuning.record import Ledger, list_sweeps

Kind = Literal["run", "sweep"]
MOST_NAMES = 8
"""Names that an error lists."""


def write_report(name: str, places: Places, out: Path, *, kind: Kind | None = None) -> Kind:
    """Write the page of a run or sweep, finished or not, and say which it is.

    Args:
        name: of it, or the file `report.json` that a sweep has left.
        places: the store that has it, and the tracking store of a run; a sweep needs none.
        out: the HTML file.
        kind: which is meant, where a run and a sweep have the same name.

    Raises:
        UsageError: there is neither, or there are both, or the file is none of a sweep.
        TrackingError: a run's tracking store cannot be reached, or does not have it.
        StorageError: the store cannot be read, or the file not written.
    """
    found: Kind
    if name.endswith(".json"):
        found, page = "sweep", _kept_page(Path(name))
    else:
        found = kind or _kind_of(name, places)
        page = _sweep_page(name, places) if found == "sweep" else _run_page(name, places)
    write_bytes(locate(out), page.encode())
    return found


def _run_page(name: str, places: Places) -> str:
    from pipelines.run_report.page import run_page
    from pipelines.run_report.read import read_run

    entry = find_run(places.store, name)
    if entry is None:
        raise UsageError(_nothing_called(name, places))
    return run_page(read_run(entry, places.tracking_uri))


def _sweep_page(name: str, places: Places) -> str:
    from pipelines.sweep.begun import find_sweep, report_sweep
    from pipelines.sweep.page import sweep_page

    return sweep_page(report_sweep(find_sweep(name, places)))


def _kept_page(file: Path) -> str:
    from pipelines.sweep.page import sweep_page

    try:
        return sweep_page(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is none, {str(error).splitlines()[0]}"
        raise UsageError(f"cannot read the report of a sweep in {file} ({reason}): give its report.json") from error


def _kind_of(name: str, places: Places) -> Kind:
    is_run, is_sweep = find_run(places.store, name) is not None, Ledger(places.store, name).read_card() is not None
    if is_run and is_sweep:
        raise UsageError(f"'{name}' is a run and a sweep in {places.store}: say which by --kind run or --kind sweep")
    if not is_run and not is_sweep:
        raise UsageError(_nothing_called(name, places))
    return "run" if is_run else "sweep"


def _nothing_called(name: str, places: Places) -> str:
    runs, sweeps = list_runs(places.store), list_sweeps(places.store)
    said = "; ".join(filter(None, [_some("runs", name, runs), _some("sweeps", name, sweeps)]))
    have = f"there are {said}" if said else "there are none yet"
    return f"there is no run or sweep '{name}' in {places.store}, {have}: check the name and --store"


def _some(kind: str, name: str, names: Sequence[str]) -> str:
    """List the nearest names, then others, up to a number."""
    near = difflib.get_close_matches(name, names, n=MOST_NAMES, cutoff=0.5)
    shown = (near + [other for other in names if other not in near])[:MOST_NAMES]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return f"{kind} {', '.join(shown)}{more}" if shown else ""
