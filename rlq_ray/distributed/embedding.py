"""Features of many images, computed by Ray actors that each take a share of the rows."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
import torch

from rlq_ray.build_stamp import require_package, submitted_hash
from rlq_ray.config.schema import ExperimentConfig, Quality, WorkersConfig
from rlq_ray.data import DataSet
from rlq_ray.distributed.driver import plan_workers
from rlq_ray.errors import TrainingError
from rlq_ray.models import ReIDNetwork
from rlq_ray.storage import locate
from rlq_ray.train.build import build_augmenter, open_data
from rlq_ray.train.checkpoint import read_network
from rlq_ray.train.features import Embedding
from rlq_ray.train.networks import read_teacher
from rlq_ray.train.teaching import teach_rows


@dataclass(frozen=True)
class EmbeddingJob:
    """Rows of a data set, in a quality, as a checkpoint's network sees them under `config`."""

    checkpoint: str
    data: str
    quality: Quality
    config: ExperimentConfig
    row_N: npt.NDArray[np.int64] = field(repr=False)


def embed_on_cluster(
    jobs: Sequence[EmbeddingJob], *, advance: Callable[[], None] | None = None
) -> list[npt.NDArray[np.float32]]:
    """Compute each job's features, `(N, D)` of unit length, in the order of its rows.

    Args:
        jobs: alike in `config.workers`, which says how many actors there are.
        advance: is called once for every job that is done.

    Raises:
        UsageError: the cluster cannot place the actors.
        CheckpointError, DataError, StorageError: what a job names cannot be used.
        TrainingError: an actor died.
    """
    workers = jobs[0].config.workers
    with _started(workers) as embedders:
        pending = [
            [
                embedder.embed.remote(
                    job.config, job.checkpoint, job.data, job.quality, job.row_N[part :: len(embedders)]
                )
                for part, embedder in enumerate(embedders)
            ]
            for job in jobs
        ]
        done = []
        for job, parts in zip(jobs, pending, strict=True):
            done.append(_interleave(_results(parts), len(job.row_N)))
            if advance:
                advance()
        return done


def teach_on_cluster(
    config: ExperimentConfig, row_N: npt.NDArray[np.int64], draws: Sequence[int]
) -> Iterator[npt.NDArray[np.float16]]:
    """Give the teacher's features of external images under each draw, `(2, N, D)`, as soon as they are there.

    Raises:
        UsageError, CheckpointError, DataError, StorageError, TrainingError: see `embed_on_cluster`.
    """
    with _started(config.workers) as embedders:
        shares = np.array_split(row_N, len(embedders))
        pending = deque(
            [
                embedder.teach.remote(config, share, draw)
                for embedder, share in zip(embedders, shares, strict=True)
                if len(share)
            ]
            for draw in draws
        )
        while pending:
            yield np.concatenate(_results(pending.popleft()), axis=1)


@contextlib.contextmanager
def _started(workers: WorkersConfig) -> Iterator[list[Any]]:
    """Start embedders as a training's workers would be, and end them."""
    options = {"num_cpus": workers.cpus, "num_gpus": 1 if plan_workers(workers).use_gpu else 0}
    actor = ray.remote(**options)(_Embedder)
    embedders = [actor.remote(submitted_hash()) for _ in range(workers.counts[0])]  # for which there is room
    try:
        yield embedders
    finally:
        for embedder in embedders:
            ray.kill(embedder)


def _results(references: list[Any]) -> list[npt.NDArray[Any]]:
    try:
        results: list[npt.NDArray[Any]] = ray.get(references)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise TrainingError(f"a worker that computes features died ({type(error).__name__}): call again") from error
    return results


def _interleave(parts: list[npt.NDArray[np.float32]], total: int) -> npt.NDArray[np.float32]:
    features = np.empty((total, parts[0].shape[1]), np.float32)
    for part, content in enumerate(parts):
        features[part :: len(parts)] = content
    return features


class _Embedder:
    """Computes features on its own device; keeps what it opened last, since jobs come in groups."""

    def __init__(self, package: str | None) -> None:
        self._package = package
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._networks: dict[str, ReIDNetwork] = {}
        self._datasets: dict[str, DataSet] = {}
        self._teacher: ReIDNetwork | None = None

    def embed(
        self, config: ExperimentConfig, checkpoint: str, data: str, quality: Quality, row_N: np.ndarray
    ) -> npt.NDArray[np.float32]:
        """Embed rows in their order, `(N, D)`."""
        require_package(self._package)  # here, since what an actor raises when it is made loses its type
        if checkpoint not in self._networks:
            self._networks = {checkpoint: read_network(locate(checkpoint))[0].to(self._device)}
        embedding = Embedding.of(config, build_augmenter(config), self._device)
        features = embedding.rows(self._networks[checkpoint], self._open(data, config), row_N, quality)
        array: npt.NDArray[np.float32] = features.numpy()
        return array

    def teach(self, config: ExperimentConfig, row_N: np.ndarray, draw: int) -> npt.NDArray[np.float16]:
        """Let the teacher see rows of the external set under a draw, `(2, N, D)`."""
        require_package(self._package)
        assert config.data.external is not None
        dataset = self._open(config.data.external, config)
        if self._teacher is None:
            self._teacher = read_teacher(config, self._device)
        return teach_rows(self._teacher, dataset, row_N, draw, config, self._device)

    def _open(self, data: str, config: ExperimentConfig) -> DataSet:
        if self._device.type == "cpu":
            torch.set_num_threads(max(1, int(config.workers.cpus)))
        if data not in self._datasets:
            self._datasets = {data: open_data(data, config.data)}
        return self._datasets[data]
