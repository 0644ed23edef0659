"""One worker's part of a training: configuration → parts → `fit`. Knows neither Ray Train nor Ray Tune."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch

from rlq_ray.collectives import World
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.distributed.loading import Loading
from rlq_ray.distributed.metering import Metered
from rlq_ray.distributed.meters import Meters
from rlq_ray.distributed.progress import Progress
from rlq_ray.distributed.reporting import Keep, Reporter
from rlq_ray.storage import Location
from rlq_ray.tracking import NullTracker, Tracker
from rlq_ray.train.build import Parts, build
from rlq_ray.train.checkpoint import CheckpointCard
from rlq_ray.train.features import Embedding
from rlq_ray.train.loop import Ended, Plan, ShouldStop, fit, never
from rlq_ray.train.validation import Validation

log = logging.getLogger(__name__)


def run_training(
    config: ExperimentConfig,
    *,
    run: str,
    world: World,
    device: torch.device,
    store: Location,
    tracker: Tracker,
    tell: Callable[[Progress], None],
    keep: Keep,
    state: Mapping[str, Any] | None = None,
    should_stop: ShouldStop = never,
) -> Ended:
    """Train to the end on this worker, or until it should stop.

    Args:
        config: of the training.
        run: its name, by which its figures are known.
        world: which worker this is.
        device: this worker's.
        store: keeps what trainings share.
        tracker: takes losses and metrics; is left open, for whoever made the run to end.
        tell: takes the progress.
        keep: takes the report of every evaluation, and of a stop between two, with its checkpoint.
        state: all that a checkpoint held, to go on from; by default the training begins.
        should_stop: tells, alike on every worker, whether to stop before a step.

    Raises:
        UsageError, DataError, CheckpointError: what the configuration names cannot be used.
        TrainingError: the training cannot go on.
    """
    if device.type == "cpu":
        torch.set_num_threads(max(1, int(config.workers.cpus)))
    with contextlib.ExitStack() as at_the_end:
        at_the_end.callback(tracker.detach)
        parts = build(config, world=world, device=device, store=store)
        at_the_end.callback(parts.close)
        if state is not None:
            parts.state.load_state_dict(dict(state))
        phases = parts.state.phases
        validation = Validation(parts, Embedding.of(config, parts.augmenter, device), config.evaluate, world)
        tracker.set_tags({f"data.{name}.drawn_from": phase.loader.sampler for name, phase in phases.items()})
        counts_of = {name: phase.loader.counts for name, phase in phases.items()}
        reporter = Reporter(
            world=world,
            tracker=tracker,
            tell=tell,
            keep=keep,
            timeline=parts.timeline,
            loading=Loading(counts_of),
            card=lambda epoch, step, metrics: _card(config, parts, epoch, step, metrics),
            select_on=validation.select_on,
            log_every_steps=config.train.log_every_steps,
        )
        metered = Metered(
            reporter,
            Meters(run, world),
            world=world,
            device=device,
            timeline=parts.timeline,
            metric=validation.select_on,
            loading=Loading(counts_of),
        )
        plan = Plan(parts.timeline, config.staged_optimizer, config.train, validation.select_on, device, world.size)
        log.info("training from step %d of %d on %s", parts.state.step, parts.timeline.total_steps, device)
        ended = fit(parts.state, plan, validation, metered, should_stop)
        log.info("%s at step %d", ended, parts.state.step)
        return ended


def open_tracker(uri: str | None, run_id: str | None, world: World) -> Tracker:
    """Open the training's run on the first worker; a tracker that writes nothing on the others, and without a run."""
    if world.rank or uri is None or run_id is None:
        return NullTracker()
    from rlq_ray.tracking.mlflow_tracker import MlflowStore  # takes a second to import, and one worker needs it

    return MlflowStore(uri).attach(run_id)


def _card(
    config: ExperimentConfig, parts: Parts, epoch: int, step: int, metrics: Mapping[str, float]
) -> CheckpointCard:
    return CheckpointCard(
        config=config,
        classes=parts.split.classes,
        data_hash=parts.target.manifest.content_hash,
        epoch=epoch,
        step=step,
        metrics=metrics,
    )
