"""Where things are: the command line first, then the environment, then the embedded default under `./rlq-data`.

The stack of `rlq up` comes in as a part of the environment: see `pipelines.stack_use`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pipelines.stack_use import keep_login_for
from rlq_ray.errors import UsageError
from rlq_ray.storage import Location, locate
from rlq_ray.tracking import default_uri

EXPERIMENT = "rlq"
"""MLflow experiment of runs started by hand."""


@dataclass(frozen=True)
class Places:
    """The store of checkpoints, runs and teachers, the tracking store's URI, and a Ray cluster's address if any."""

    store: Location
    tracking_uri: str
    ray_address: str | None


def require_store(tracking_uri: str) -> str:
    """Return the URI of a tracking store that is there, instead of letting a UI make an empty one.

    Raises:
        UsageError: it is a SQLite file that does not exist.
    """
    file = Path(tracking_uri.removeprefix("sqlite:///"))
    if tracking_uri.startswith("sqlite:///") and not file.exists():
        raise UsageError(
            f"there are no runs yet: {file} does not exist; run `rlq demo`, or name another store by --tracking-uri"
        )
    return tracking_uri


def find_places(*, store: str | None = None, tracking_uri: str | None = None, home: Path | None = None) -> Places:
    """Resolve the places; `home` replaces `./rlq-data` as the folder of the defaults."""
    home = home or Path("rlq-data")
    environment = os.environ
    if tracking_uri:
        keep_login_for(tracking_uri)
    return Places(
        store=locate(store or environment.get("RLQ_STORAGE") or home),
        tracking_uri=tracking_uri
        or environment.get("RLQ_TRACKING_URI")
        or environment.get("MLFLOW_TRACKING_URI")
        or default_uri(home),
        ray_address=environment.get("RAY_ADDRESS"),
    )
