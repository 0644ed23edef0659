"""Measure what parts of a training cost by the unit, and how 64 clients fare at real S3 and MLflow servers.

    python tests/benchmarks/bench_scale.py [--json FILE] [--picture FILE]

Prints the tables of docs/scale.md, which are made from these figures alone (`scaling/model.py`).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sqlite3
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scaling import report, units
from scaling.clients import CLIENTS, Pace, read_together, write_together
from scaling.data import write_data
from scaling.picture import save_loads

from cluster.mlflow_server import start_mlflow_server
from cluster.object_store import start_object_store
from cluster.ray_local import session
from pipelines.people_data import PeopleData
from rlq_ray.storage import locate
from rlq_ray.tracking.mlflow_tracker import MlflowStore

LEVELS = (0.25, 0.5, 0.9, 1.5)
"""Demand as a share of what the servers gave to clients that wanted all they could get."""
LEVEL_S = 12.0
TRACKING_LEVELS, TRACKING_S = (0.25, 0.5, 0.75, 1.5), 30.0
SMALL, LARGE = 200_000, 1_000_000
ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path, help="PNG of the load of each part")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rlq-b-", dir="/tmp", ignore_cleanup_errors=True) as name:
        measured = measure(Path(name))
    if arguments.json:
        arguments.json.write_text(json.dumps(measured, indent=1) + "\n")
    if arguments.picture:
        save_loads(measured["units"], arguments.picture)
    print(report.everything(measured))


def measure(folder: Path) -> dict[str, Any]:
    """Measure all of it with servers of our own."""
    store = start_object_store(folder / "s3")
    os.environ.update(store.environment)
    database = folder / "mlflow.db"
    server = start_mlflow_server(f"sqlite:///{database}", folder / "artifacts", folder / "mlflow.log")
    try:
        uri = f"{store.uri}/scale"
        write_data(folder, uri)
        people = PeopleData(folder / "people", locate(str(folder / "store")), "tiny", 0, 5)
        with session(num_cpus=os.cpu_count()):
            people.render()
            people.ingest()
        shards = {role: people.shards(role) for role in ("target", "external")}
        costs = {
            **units.reading(uri),
            **units.planning(uri, LARGE),
            **units.checkpoint(locate(store.uri) / "checkpoint"),
            **units.tracking(shards, folder, server.uri),
            **units.calls(server.uri),
            **units.ranking(),
            **units.of_sweeps(ROOT / "docs" / "benchmarks" / "sweep.json"),
        }
        small = units.planning(uri, SMALL)
        return {
            "units": costs,
            "growth": {key: costs[key] / small[key] for key in small},
            "settings": {
                "clients": CLIENTS,
                "cores": os.cpu_count(),
                "images": LARGE,
                "smaller": SMALL,
                "seconds": LEVEL_S,
            },
            "reading": reading_levels(uri),
            "tracking": tracking_levels(server.uri, database, 1 / costs["call_s"]),
        }
    finally:
        server.stop(grace_s=2)
        store.stop(grace_s=0)


def reading_levels(uri: str) -> list[dict[str, float]]:
    """Read as fast as can be, then at shares of that."""
    most = read_together(uri, units.WINDOW_MB, Pace(math.inf, LEVEL_S))
    levels = [{"level": 0.0, "demand": 0.0, **asdict(most)}]  # infinity is no JSON
    for level in LEVELS:
        pace = Pace(level * most.images_per_s, LEVEL_S)
        levels.append({"level": level, "demand": pace.per_s, **asdict(read_together(uri, units.WINDOW_MB, pace))})
    return levels


def tracking_levels(uri: str, database: Path, most_per_s: float) -> list[dict[str, float]]:
    """Write at shares of the most that callers get; what the server has is counted in its database."""
    store = MlflowStore(uri)
    experiment = store.ensure_experiment("levels")
    levels: list[dict[str, float]] = []
    for level in TRACKING_LEVELS:
        pace = Pace(level * most_per_s, TRACKING_S)
        runs = [store.create_run(experiment, f"{level}-{number}") for number in range(CLIENTS)]
        written = write_together(uri, runs, pace)
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            marks = ",".join("?" * len(runs))
            (stored,) = connection.execute(f"select count(*) from metrics where run_uuid in ({marks})", runs).fetchone()
        levels.append({"level": level, "demand": pace.per_s, **asdict(written), "stored": float(stored)})
    return levels


if __name__ == "__main__":
    main()
