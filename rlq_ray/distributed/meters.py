"""What Prometheus sees of a training, through the metrics agent of every node of Ray.

Ray puts `ray_` before every name and adds where a figure comes from, such as `NodeAddress`. A process that is connected
to no Ray may have meters, too; nobody reads them.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from ray.util.metrics import Counter, Gauge

from rlq_ray.collectives import World
from rlq_ray.distributed.loading import Served


class Figure(NamedTuple):
    """A figure by its name, without Ray's own prefix; a counter only grows, a gauge is what was measured last."""

    name: str
    kind: Literal["counter", "gauge"]
    labels: tuple[str, ...]
    description: str


OF_PHASE, OF_WORKER = ("run", "phase"), ("run", "phase", "rank")
STEPS = Figure("rlq_steps_total", "counter", OF_PHASE, "Optimiser steps")
IMAGES = Figure("rlq_images_total", "counter", OF_PHASE, "Images trained on, by all workers together")
PHASE_SECONDS = Figure("rlq_phase_seconds_total", "counter", OF_PHASE, "Time of the steps, with all they waited for")
STEP_RATIO = Figure("rlq_step_ratio", "gauge", ("run",), "TAD steps, or those that take their place, to a CAP step")
PROGRESS = Figure("rlq_progress", "gauge", ("run",), "Share of the steps that are done")
WORKERS = Figure("rlq_workers", "gauge", ("run",), "Workers that train")
SCORE = Figure("rlq_score", "gauge", ("run", "metric"), "Latest score on the validation identities")
EVALUATION_SECONDS = Figure("rlq_evaluation_seconds_total", "counter", ("run",), "Time of the evaluations")
CHECKPOINTS = Figure("rlq_checkpoints_total", "counter", ("run",), "Checkpoints kept")
CHECKPOINT_SECONDS = Figure("rlq_checkpoint_seconds_total", "counter", ("run",), "Time for writing checkpoints")
STALL_SECONDS = Figure("rlq_stall_seconds_total", "counter", OF_WORKER, "Time that a worker waited for batches")
READ_BYTES = Figure("rlq_read_bytes_total", "counter", OF_WORKER, "Bytes that came from the store")
RETRIES = Figure("rlq_read_retries_total", "counter", OF_WORKER, "Reads from the store that were tried again")
HEDGES = Figure("rlq_read_hedges_total", "counter", OF_WORKER, "Reads asked for twice since the store was slow")

FIGURES = (
    *(STEPS, IMAGES, PHASE_SECONDS, STEP_RATIO, PROGRESS, WORKERS, SCORE, EVALUATION_SECONDS, CHECKPOINTS),
    *(CHECKPOINT_SECONDS, STALL_SECONDS, READ_BYTES, RETRIES, HEDGES),
)
"""All of them."""


class Meters:
    """The figures of a training on one of its workers; those of the training as a whole come from its first worker."""

    def __init__(self, run: str, world: World) -> None:
        self._run = run
        self._rank = str(world.rank)
        self._meters = {
            figure: (Counter if figure.kind == "counter" else Gauge)(
                figure.name, figure.description, tag_keys=figure.labels
            )
            for figure in FIGURES
        }

    def served(self, served: Served) -> None:
        """Count what this worker's loaders did."""
        for phase, counts in served.lately.items():
            own = {"phase": phase, "rank": self._rank}
            self._record(STALL_SECONDS, counts.stall_s, **own)
            self._record(READ_BYTES, counts.read_bytes, **own)
            self._record(RETRIES, counts.retries, **own)
            self._record(HEDGES, counts.hedges, **own)

    def stepped(self, phase: str, images: int) -> None:
        """Count a step."""
        self._record(STEPS, 1, phase=phase)
        self._record(IMAGES, images, phase=phase)

    def took(self, phase: str, seconds: float) -> None:
        """Count what steps of a phase took."""
        self._record(PHASE_SECONDS, seconds, phase=phase)

    def stands(self, *, progress: float, step_ratio: float, workers: int) -> None:
        """Say where the training stands; gauges that nobody sets fade within half a minute."""
        self._record(PROGRESS, progress)
        self._record(STEP_RATIO, step_ratio)
        self._record(WORKERS, workers)

    def evaluated(self, metric: str, score: float, seconds: float) -> None:
        """Count an evaluation."""
        self._record(SCORE, score, metric=metric)
        self._record(EVALUATION_SECONDS, seconds)

    def kept(self, seconds: float) -> None:
        """Count a checkpoint."""
        self._record(CHECKPOINTS, 1)
        self._record(CHECKPOINT_SECONDS, seconds)

    def _record(self, figure: Figure, value: float, **labels: str) -> None:
        meter = self._meters[figure]
        if isinstance(meter, Gauge):
            meter.set(value, {"run": self._run, **labels})
        elif value > 0:  # Ray refuses to count nothing
            meter.inc(value, {"run": self._run, **labels})
