"""What a sweep will take, said before it begins; and refused where it cannot end well."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

from pipelines.console import stderr
from pipelines.sweep.file import SweepFile
from rlq_ray.distributed.driver import describe_nodes
from rlq_ray.errors import UsageError
from rlq_ray.storage import Location, RangeReader, locate
from rlq_ray.train.checkpoint import STATE_FILE
from tuning.book import Book
from tuning.proposals import most_configurations
from tuning.record import count_states
from tuning.room import Need
from tuning.seeds import places

SPARE = 1.2
"""Room on the disk that is asked for, over what checkpoints will take."""


def most_trainings(file: SweepFile, epochs: int) -> list[int]:
    """Count the trainings of each round, at most: of every seed those configurations that get it, or a population's.

    Args:
        file: of the sweep.
        epochs: CAP epochs of a whole training; a population trains in parts of them.
    """
    if file.search.kind == "pbt":
        return [file.budget.trials] * math.ceil(epochs / file.search.generation_epochs)
    rounds = [most_configurations(file.space, file.search, file.budget.trials)]
    for _ in file.seeds.values[1:]:
        rounds.append(min(rounds[-1], places(file.seeds.keep, rounds[-1])))
    return rounds


def announce_plan(file: SweepFile, epochs: int, book: Book, need: Need, concurrent: int) -> None:
    """Say how many trainings there will be, how many at a time, and what of them is done."""
    rounds = most_trainings(file, epochs)
    early = "no early stopping"
    if file.stopping.kind != "none":
        early = f"{file.stopping.kind} stops early from epoch {file.stopping.grace_epochs} on"
    stderr.print(
        f"  plan: up to {rounds[0]} configurations of {len(file.space)} settings ({file.search.kind}), {early}; "
        f"{' + '.join(map(str, rounds))} trainings at most for seeds {', '.join(map(str, file.seeds.values))}"
    )
    stderr.print(f"  {concurrent} at a time, each on {need}; the cluster has {describe_nodes()}")
    if concurrent < (file.budget.concurrent or 0):
        stderr.print(f"  budget.concurrent is {file.budget.concurrent}, and {concurrent} have room at a time")
    if book.trials:
        counts = count_states(book.trials)
        under_way = counts.pop("running", 0)
        done = ", ".join(f"{number} {state}" for state, number in sorted(counts.items())) or "none done"
        stderr.print(f"  of these: {done}, {under_way} to go on with; the others are new")


def refuse_small_disk(file: SweepFile, epochs: int, concurrent: int, store: Location, teacher: str) -> None:
    """Refuse to begin what would fill the disk: checkpoints are as large as the teacher's.

    Raises:
        UsageError: there is too little room.
    """
    if store.is_local:
        each = RangeReader().size(locate(teacher) / STATE_FILE)
        refuse_full_disk(most_checkpoints(file, epochs, concurrent), each, store, "lower budget.trials")


def most_checkpoints(file: SweepFile, epochs: int, concurrent: int) -> int:
    """Count the checkpoints that a sweep has at most: the best of every training, and what those under way keep."""
    return sum(most_trainings(file, epochs)) + 2 * concurrent


def refuse_full_disk(checkpoints: int, each: int, store: Location, mend: str) -> None:
    """Refuse to begin what would fill the disk of a store with checkpoints of so many bytes each.

    Raises:
        UsageError: there is too little room.
    """
    free = free_bytes(store)
    if free is not None and free < SPARE * checkpoints * each:
        raise UsageError(
            f"{checkpoints} checkpoints of {each / 1e6:.0f} MB take {checkpoints * each / 1e9:.1f} GB, but "
            f"{store.path} has {free / 1e9:.1f} GB free: make room, {mend}, or take another --store"
        )


def free_bytes(store: Location) -> int | None:
    """Say how much room the disk of a store has; None where it is on no disk."""
    if not store.is_local:
        return None
    folder = Path(store.path)
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
