"""What a training takes of the cluster, and how many have room at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import ray

from rlq_ray.config.schema import WorkersConfig
from rlq_ray.distributed.driver import plan_workers

DRIVER_BYTES = 64 * 2**20
"""What a trial reserves that has workers of its own: no CPU, or trials that only wait for their workers take it all."""


@dataclass(frozen=True)
class Need:
    """What one training takes: so many workers, and of each kind (`cpu`, `gpu`) so much for each of them."""

    workers: int
    each: Mapping[str, float]

    @property
    def of_trial(self) -> dict[str, float]:
        """What its trial reserves with Tune; workers of its own are placed by Ray Train."""
        return dict(self.each) if self.workers == 1 else {"memory": DRIVER_BYTES}

    @property
    def whole(self) -> dict[str, float]:
        """What all its workers take together."""
        return {kind: self.workers * amount for kind, amount in self.each.items()}

    def __str__(self) -> str:
        """Say it."""
        each = " and ".join(f"{amount:g} {kind.upper()}" for kind, amount in self.each.items())
        return each if self.workers == 1 else f"{self.workers} workers with {each} each"

    def places(self, nodes: Iterable[Mapping[str, float]]) -> int:
        """Count the trainings that fit into nodes at a time, given what each has; a worker lies on one node."""
        fitting = (min(node.get(kind.upper(), 0) // amount for kind, amount in self.each.items()) for node in nodes)
        return int(sum(fitting)) // self.workers


def needs(workers: WorkersConfig) -> Need:
    """Say what a training takes of the connected cluster.

    Raises:
        UsageError: the cluster is too small for one.
    """
    use_gpu = plan_workers(workers).use_gpu
    return Need(workers.count, {"cpu": workers.cpus, **({"gpu": 1} if use_gpu else {})})


def at_a_time(need: Need, wished: int | None) -> int:
    """Decide how many trainings there are at a time on the connected cluster, by default as many as have room.

    More may be wished for, and wait, unless they have workers of their own: then some would wait for those of others.
    """
    room = need.places(node["Resources"] for node in ray.nodes() if node["Alive"])
    return room if wished is None or (need.workers > 1 and wished > room) else wished
