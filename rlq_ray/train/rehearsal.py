"""A few real steps of every phase, an evaluation and a checkpoint, measured here. Knows neither Ray nor trackers.

The steps are the training's last ones, when all that it does is on: the clothes classifier trains, and learning rates
are small. Nothing is left behind but what `folder` takes.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import resource
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rlq_ray.collectives import World, anyone
from rlq_ray.config.schema import ExperimentConfig, Quality
from rlq_ray.data import DataSet, evaluation_rows
from rlq_ray.models import ReIDNetwork
from rlq_ray.phases import Phase
from rlq_ray.train.build import Parts, build
from rlq_ray.train.checkpoint import STATE_FILE, CheckpointCard, write_checkpoint
from rlq_ray.train.features import Embedding
from rlq_ray.train.gradients import GradientComparison
from rlq_ray.train.loop import Plan, stop_unless_finite, train_step
from rlq_ray.train.schedule import learning_rate
from rlq_ray.train.validation import Validation
from rlq_ray.types import Foresight

WARM_UP, TIMED = 3, 8
"""Steps of a phase that are taken and not counted, and those that are counted after them."""
BUDGET_S = 45.0
"""Seconds after which a phase takes no further step, once two are done."""
EMBEDDED = 128
"""Images of each quality that the evaluation really embeds; the time for the others is inferred."""
FORESEEN_EPOCHS = 3
"""Epochs whose reads are foreseen one by one."""


@dataclass(frozen=True)
class PhaseCost:
    """What a phase takes: seconds of each counted step, images of a step over all workers, and steps.

    `steps` are those of the whole training, `steps_per_epoch` those of a pass over the phase's data, and `reads` what
    this worker will read of them.
    """

    step_s: tuple[float, ...]
    images: int
    steps: int
    steps_per_epoch: int
    reads: Foresight

    @property
    def read_bytes(self) -> int:
        """What this worker reads in the whole training."""
        return self.reads.total(self.steps / self.steps_per_epoch)


@dataclass(frozen=True)
class Rehearsal:
    """What a training takes on one worker.

    `build_s` is the time from the configuration to the first step; `evaluation_read_bytes` is what one evaluation reads
    where nothing of it is held. `cache_growth_bytes` is what caches may still take beyond `peak_bytes`, the process's
    largest memory so far. Sizes of a GPU are None without one; only the first worker writes a checkpoint.
    """

    build_s: float
    phases: Mapping[str, PhaseCost]
    evaluation_s: float
    evaluations: int
    evaluation_read_bytes: int
    checkpoint_s: float
    checkpoint_bytes: int
    peak_bytes: int
    cache_growth_bytes: int
    gpu_peak_bytes: int | None
    gpu_total_bytes: int | None


def rehearse(config: ExperimentConfig, *, world: World, device: torch.device, folder: Path | None = None) -> Rehearsal:
    """Take some steps, and measure; every worker makes the same calls.

    Args:
        config: of the training.
        world: which worker this is.
        device: this worker's.
        folder: takes a checkpoint of the network after these steps, on every worker; by default the first worker
            writes one and deletes it.

    Raises:
        UsageError, DataError, CheckpointError, TrainingError: what the training would raise.
    """
    if device.type == "cpu":
        torch.set_num_threads(max(1, int(config.workers.cpus)))
    began_s = time.monotonic()
    parts = build(config, world=world, device=device)
    with contextlib.closing(parts):
        build_s = time.monotonic() - began_s
        embedding = _PartlyEmbedding.of(config, parts.augmenter, device)
        validation = Validation(parts, embedding, config.evaluate, world)
        plan = Plan(parts.timeline, config.staged_optimizer, config.train, validation.select_on, device, world.size)
        phases = {name: _phase_cost(parts, plan, phase) for name, phase in parts.state.phases.items()}
        began_s = time.monotonic()
        validation()
        evaluation_s = time.monotonic() - began_s + sum(embedding.spared_s)
        began_s = time.monotonic()
        checkpoint_bytes = _write(config, parts, world, folder)
        checkpoint_s = time.monotonic() - began_s
        validation_bytes = _validation_bytes(parts, config, world)
        is_cuda = device.type == "cuda"
        return Rehearsal(
            build_s=build_s,
            phases=phases,
            evaluation_s=evaluation_s,
            evaluations=len(evaluation_epochs(config)),
            evaluation_read_bytes=validation_bytes,
            checkpoint_s=checkpoint_s,
            checkpoint_bytes=checkpoint_bytes,
            peak_bytes=1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            cache_growth_bytes=_cache_growth(parts, phases, validation_bytes),
            gpu_peak_bytes=torch.cuda.max_memory_reserved(device) if is_cuda else None,
            gpu_total_bytes=torch.cuda.get_device_properties(device).total_memory if is_cuda else None,
        )


def evaluation_epochs(config: ExperimentConfig) -> list[int]:
    """List the CAP epochs after which a training is evaluated."""
    every, epochs = config.train.evaluate_every_epochs, config.train.epochs
    return [epoch for epoch in range(1, epochs + 1) if epoch % every == 0 or epoch == epochs]


@dataclass(frozen=True)
class _PartlyEmbedding(Embedding):
    """Embeds the first images of a call, makes up the features of the others, and notes the time that this spared."""

    spared_s: list[float] = field(default_factory=list)

    def rows(self, network: ReIDNetwork, dataset: DataSet, row_N: np.ndarray, quality: Quality) -> Tensor:
        """Give features of unit length, `(N, D)`, most of them made up."""
        began_s = time.monotonic()
        some_ND = super().rows(network, dataset, row_N[:EMBEDDED], quality)
        left = len(row_N) - len(some_ND)
        if not left:
            return some_ND
        self.spared_s.append((time.monotonic() - began_s) * left / len(some_ND))
        return torch.cat([some_ND, F.normalize(torch.randn(left, some_ND.shape[1]))])


def _phase_cost(parts: Parts, plan: Plan, phase: Phase) -> PhaseCost:
    line, loader = plan.timeline, phase.loader
    cap_steps = line.epochs * line.cap_steps_per_epoch
    taken, images = _take_steps(parts, plan, phase)
    steps = cap_steps if phase.name == "cap" else line.total_steps - cap_steps
    epochs = math.ceil(steps / loader.steps_per_epoch)
    return PhaseCost(
        step_s=tuple(taken[min(WARM_UP, len(taken) - 1) :]),
        images=images,
        steps=steps,
        steps_per_epoch=loader.steps_per_epoch,
        reads=loader.foresee(max(1, min(epochs, FORESEEN_EPOCHS))),
    )


def _take_steps(parts: Parts, plan: Plan, phase: Phase) -> tuple[list[float], int]:
    """Take the last steps that a training has of a phase, several times if there are few; give seconds and images."""
    line, state = plan.timeline, parts.state
    late = (step for step in reversed(range(line.total_steps)) if line.phase(step) == phase.name)
    steps = list(itertools.islice(late, WARM_UP + TIMED))[::-1]
    comparison = GradientComparison(line, plan.train.evaluate_every_epochs)  # it holds a gradient, too
    state.network.train()
    taken: list[float] = []
    images = 0
    for step in itertools.islice(itertools.cycle(steps), WARM_UP + TIMED):
        began_s = time.monotonic()
        state.step, epoch = step, line.epoch(step)
        rate = learning_rate(plan.optimizer.at(epoch), epoch=epoch, epochs=line.epochs)
        record = train_step(state, plan, phase, rate)
        stop_unless_finite(record)  # waits for the device
        taken.append(time.monotonic() - began_s)
        images = record.images
        comparison.after_step(step, phase.name, state.network)
        if len(taken) > 1 and anyone(sum(taken) > BUDGET_S, plan.device):
            break
    return taken, images


def _write(config: ExperimentConfig, parts: Parts, world: World, folder: Path | None) -> int:
    """Write a checkpoint, and give its size."""
    if folder is None and world.rank:
        return 0
    content_hash = parts.target.manifest.content_hash
    card = CheckpointCard(config, parts.split.classes, content_hash, epoch=0, step=parts.state.step)
    with tempfile.TemporaryDirectory(prefix="rlq-rehearsal-") as aside:
        place = folder or Path(aside)
        write_checkpoint(place, card, parts.state.state_dict())
        return (place / STATE_FILE).stat().st_size


def _validation_bytes(parts: Parts, config: ExperimentConfig, world: World) -> int:
    """Add up the row groups of what this worker embeds at an evaluation."""
    own = [parts.split.validation_rows]
    if config.evaluate.test_curve:
        own += evaluation_rows(parts.target.index, "test")
    rows = np.concatenate([part[world.rank :: world.size] for part in own])
    return parts.target.group_bytes(np.unique(parts.target.index.group[rows]), masks=False)


def _cache_growth(parts: Parts, phases: Mapping[str, PhaseCost], validation_bytes: int) -> int:
    growth = 0
    for name, cost in phases.items():
        needed = cost.reads.held_bytes + (validation_bytes if name == "cap" else 0)
        growth += max(0, min(needed, parts.target.cache_bytes) - parts.state.phases[name].loader.held_bytes)
    return growth
