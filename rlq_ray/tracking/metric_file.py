"""Metric names, and the local file that keeps metrics whatever becomes of the store. Knows no store."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from pathlib import Path

from rlq_ray.tracking.base import MetricPoint


def checked_name(name: str) -> str:
    """Return a metric's name.

    Raises:
        ValueError: it has characters that a store refuses.
    """
    if not name or not all(c.isalnum() or c in "_-. :/" for c in name):
        raise ValueError(f"metric name '{name}' is not storable: use letters, digits and _ - . : / and space")
    return name


def append_points(path: Path, points: Iterable[MetricPoint]) -> None:
    """Append one JSON line per point: step, name, value, time in seconds since 1970; a value not finite is null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    now_s = round(time.time(), 3)
    with path.open("a") as lines:
        for name, value, step in points:
            shown = value if math.isfinite(value) else None
            lines.write(json.dumps({"step": step, "name": name, "value": shown, "time_s": now_s}) + "\n")
