"""Measure what a sweep costs beside its trainings: prints a Markdown table.

    python tests/benchmarks/bench_sweep.py [--trials 1000] [--real 8] [--json FILE]

First a few real trainings of the smallest size, one at a time, on an actor that is started for the first and used
again: the time between the beginnings of two trainings, less what the first one trained. Then many trainings that do
nothing, through the same path with a real MLflow server, two at a time: seconds per training and the driver's memory,
for every tenth part of them. At last the search that MLflow's table of runs makes, sorted by the objective.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mlflow import MlflowClient

from cluster.mlflow_server import start_mlflow_server
from cluster.ray_local import session
from pipelines.people_data import PeopleData
from pipelines.sweep.file import SweepFile, read_sweep_file
from pipelines.sweep.recorder import SweepRecorder
from pipelines.tracked import tracked_run
from rlq_ray.config.load import to_dict
from rlq_ray.distributed.reporting import SCORE
from rlq_ray.distributed.trial_task import Evaluated, TrialEnd, TrialTask
from rlq_ray.storage import locate
from tuning.book import Book
from tuning.record import Ledger, Training, Trial
from tuning.run import run_sweep
from tuning.trainable import Common

PARTS = 10


def do_nothing(task: TrialTask, report: Callable[[Evaluated], None]) -> TrialEnd:
    """Report two evaluations that depend on the settings alone."""
    rate = task.settings["optimizer"]["learning_rate"]
    for epoch in (1, 2):
        names = (SCORE, "validation/lq/cc/mAP", "validation/hq/cc/mAP")
        report(Evaluated(epoch, dict.fromkeys(names, min(1.0, rate * epoch * 40)), 0.0, 0))
    return TrialEnd("finished")


def resident_mb() -> float:
    """Give what this process holds in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Clocked(SweepRecorder):
    """Notes when trainings begin, and when they have ended."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.began_s: list[float] = []
        self.ended_s: list[float] = []
        self.memory_mb: list[float] = []

    def begin_training(self, trial: Trial, training: Training, changes: dict[str, object]) -> str:
        self.began_s.append(time.monotonic())
        return super().begin_training(trial, training, changes)

    def end_training(self, trial: Trial, training: Training, standing: object) -> None:
        super().end_training(trial, training, standing)  # type: ignore[arg-type]
        self.ended_s.append(time.monotonic())
        self.memory_mb.append(resident_mb())


def sweep_file(trials: int, stopping: str) -> SweepFile:
    file = read_sweep_file("smoke")
    return SweepFile.model_validate(
        {
            **file.model_dump(),
            "recipe": "base",
            "space": {"optimizer.learning_rate": {"log_uniform": [1e-4, 1e-2]}},
            "stopping": {"kind": stopping, "grace_epochs": 1},
            "seeds": {"values": [0]},
            "budget": {"trials": trials},
        }
    )


def measure(
    name: str, trials: int, folder: Path, people: PeopleData, uri: str, *, concurrent: int, is_real: bool
) -> tuple[Clocked, Book]:
    """Carry out a sweep and return its clock and its book."""
    file = sweep_file(trials, "none" if is_real else "asha")
    overrides = [f"data.target={people.shards('target')}", f"data.external={people.shards('external')}"]
    store = locate(folder / "store")
    with tracked_run(uri, "bench", name) as parent:
        recorder = Clocked(parent, name, file, overrides, {})
        config = file.config({}, overrides)
        book = Book(
            name,
            space=file.space,
            settings=file,
            epochs=config.train.epochs,
            ledger=Ledger(store, name),
            recorder=recorder,
        )
        common = Common(to_dict(config), store.uri, uri, book.reported, on_gpu=False)
        options = {} if is_real else {"train": do_nothing}
        run_sweep(book, common, concurrent=concurrent, changed=lambda: None, tell=print, **options)
    return recorder, book


def overhead(clock: Clocked, book: Book) -> tuple[float, float]:
    """Give the seconds beside the training of the first trial, and the median of the others."""
    trained = [trial.trainings[0].seconds for trial in book.trials]
    beside = [end - begin - own for begin, end, own in zip(clock.began_s, clock.ended_s, trained, strict=True)]
    return beside[0], statistics.median(beside[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--real", type=int, default=8)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rlq-b-", dir="/tmp") as name, session(num_cpus=os.cpu_count()):
        folder = Path(name)
        people = PeopleData(folder, locate(folder / "store"), "tiny", 0, 5)
        people.render()
        people.ingest()
        (folder / "mlflow").mkdir()
        server = start_mlflow_server(f"sqlite:///{folder}/mlflow/m.db", folder / "mlflow/artifacts", folder / "log")
        try:
            real = measure("real", arguments.real, folder, people, server.uri, concurrent=1, is_real=True)
            first_s, again_s = overhead(*real)
            clock, _ = measure("many", arguments.trials, folder, people, server.uri, concurrent=2, is_real=False)
            client = MlflowClient(server.uri)
            experiment = client.get_experiment_by_name("bench").experiment_id
            began_s = time.monotonic()
            found = client.search_runs([experiment], max_results=100, order_by=["metrics.`mean/lq/cc/mAP` DESC"])
            search_s = time.monotonic() - began_s
        finally:
            server.stop(grace_s=2)
    size = arguments.trials // PARTS
    parts = [
        {
            "trials": (part + 1) * size,
            "seconds_per_trial": (clock.ended_s[(part + 1) * size - 1] - clock.began_s[part * size]) / size,
            "driver_mb": clock.memory_mb[(part + 1) * size - 1],
        }
        for part in range(PARTS)
    ]
    results = {"first_s": first_s, "again_s": again_s, "parts": parts, "search_s": search_s, "found": len(found)}
    print(f"Beside its training, a trial takes {first_s:.1f} s on a new actor and {again_s:.2f} s on a used one.\n")
    print("| trials so far | seconds per trial that does nothing | driver's memory, MB |\n|---:|---:|---:|")
    for part in parts:
        print(f"| {part['trials']} | {part['seconds_per_trial']:.3f} | {part['driver_mb']:.0f} |")
    print(f"\nMLflow finds the best {len(found)} of {arguments.trials} in {search_s:.2f} s.")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
