"""Rehearsals on the cluster: workers that take the room of trainings, measure a few steps, and leave nothing behind."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
import torch.distributed as dist
from ray.exceptions import RayError, RayTaskError
from ray.util import get_node_ip_address
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from rlq_ray.collectives import World
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.distributed.driver import plan_workers
from rlq_ray.errors import ServiceError, TrainingError
from rlq_ray.train.rehearsal import Rehearsal, rehearse

PATIENCE_S = 30
"""How long others may hold the room that a rehearsal takes."""


@dataclass(frozen=True)
class Measured:
    """What one training's workers measured, the first worker first; `start_s` is until they could begin.

    `teacher` is that of the teacher's own training, if it was rehearsed before.
    """

    start_s: float
    training: Sequence[Rehearsal]
    teacher: Sequence[Rehearsal] = ()


def rehearse_on_cluster(
    config: ExperimentConfig, *, teacher: ExperimentConfig | None = None, trainings: int = 1
) -> list[Measured]:
    """Rehearse as many trainings at a time, each on workers of its own.

    Args:
        config: of the trainings.
        teacher: of the training of their teacher, which is rehearsed first; what it leaves is their teacher.
        trainings: at a time.

    Raises:
        UsageError: the cluster cannot place the workers.
        ServiceError: others hold the room that they take.
        DataError, CheckpointError, TrainingError: what the training would raise; or a worker died.
    """
    scaling = plan_workers(config.workers)
    bundle, count = dict(scaling.resources_per_worker or {}), config.workers.count
    with _reserved([bundle] * (count * trainings)) as group:
        options = {"num_cpus": bundle["CPU"], "num_gpus": bundle.get("GPU", 0)}
        began_s = time.monotonic()
        workers = [
            ray.remote(**options)(_Worker)
            .options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=place))
            .remote(bool(scaling.use_gpu))
            for place in range(count * trainings)
        ]
        try:
            teams = [workers[first : first + count] for first in range(0, len(workers), count)]
            addresses = _results([team[0].address.remote() for team in teams])
            _results(
                [
                    worker.join.remote(World(rank, count), address)
                    for team, address in zip(teams, addresses, strict=True)
                    for rank, worker in enumerate(team)
                ]
            )
            start_s = time.monotonic() - began_s
            taught = _rehearse_all(teams, teacher, keeps=True) if teacher else [[] for _ in teams]
            trained = _rehearse_all(teams, config, keeps=False)
        finally:
            for worker in workers:
                ray.kill(worker)
    return [Measured(start_s, own, before) for own, before in zip(trained, taught, strict=True)]


def _rehearse_all(teams: Sequence[Sequence[Any]], config: ExperimentConfig, *, keeps: bool) -> list[list[Rehearsal]]:
    pending = [worker.rehearse.remote(config, keeps=keeps) for team in teams for worker in team]
    done, count = _results(pending), len(teams[0])
    return [done[first : first + count] for first in range(0, len(done), count)]


@contextlib.contextmanager
def _reserved(bundles: list[dict[str, float]]) -> Iterator[Any]:
    """Hold room for workers, as Ray Train does.

    Raises:
        ServiceError: others hold it.
    """
    group = placement_group(bundles)
    try:
        if not group.wait(PATIENCE_S):  # not `ready`, which waits for a process to start, too
            free, whole = ray.available_resources(), ray.cluster_resources()
            plural = "" if len(bundles) == 1 else "s"
            kinds = " and ".join(f"{free.get(kind, 0):g} of {whole.get(kind, 0):g} {kind}" for kind in bundles[0])
            raise ServiceError(
                f"{len(bundles)} worker{plural} found no room within {PATIENCE_S:g} s, the cluster has {kinds} free: "
                "end what holds the others (`rlq reap` frees what dead drivers left), or call again"
            )
        yield group
    finally:
        remove_placement_group(group)


def _results(references: list[Any]) -> list[Any]:
    try:
        return list(ray.get(references))
    except RayTaskError as error:
        raise error.cause from error
    except RayError as error:
        raise TrainingError(
            f"a worker died in the rehearsal ({type(error).__name__}), as a training's would: the node may lack "
            "memory, so lower the batch or data.cache_mb, or see Ray's logs"
        ) from error


class _Worker:
    """One worker of a rehearsal."""

    def __init__(self, use_gpu: bool) -> None:
        self._device = torch.device("cuda" if use_gpu else "cpu")
        self._kept = tempfile.TemporaryDirectory(prefix="rlq-rehearsal-")
        self._world = World()

    def address(self) -> str:
        """Give an address where the team's first worker can be met."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return f"{get_node_ip_address()}:{probe.getsockname()[1]}"

    def join(self, world: World, address: str) -> None:
        """Meet the others of the team, and load what a training's worker has loaded, which counts as its memory."""
        if world.rank == 0:
            import rlq_ray.tracking.mlflow_tracker  # noqa: F401
        if world.size > 1:
            backend = "nccl" if self._device.type == "cuda" else "gloo"
            dist.init_process_group(backend, init_method=f"tcp://{address}", rank=world.rank, world_size=world.size)
        self._world = world

    def rehearse(self, config: ExperimentConfig, *, keeps: bool) -> Rehearsal:
        """Rehearse; with `keeps` the checkpoint stays, and is the teacher of what is rehearsed next."""
        folder = Path(self._kept.name)
        if not keeps and any(folder.iterdir()):
            config = config.model_copy(update={"teacher": folder.as_uri()})
        try:
            return rehearse(config, world=self._world, device=self._device, folder=folder if keeps else None)
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"the GPU's memory does not hold the training ({str(error).splitlines()[0]}): lower "
                "batch.identities and batch.external_images, or give it more workers"
            ) from error
