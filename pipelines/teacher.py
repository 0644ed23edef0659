"""The teacher: the base model on the external set, trained once and kept in the store by what went into it."""

from __future__ import annotations

from pipelines.console import stderr
from pipelines.keys import teacher_key
from pipelines.places import EXPERIMENT, Places
from pipelines.train import train
from rlq_ray.config.load import build_config
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.distributed.runs import find_run


def find_or_train_teacher(
    config: ExperimentConfig, places: Places, *, experiment: str = EXPERIMENT, parent_run_id: str | None = None
) -> str:
    """Return the URI of a teacher's checkpoint: the store's, if the same one was trained before, else a new one.

    The same means: the same images and side files, whatever their address, and the same settings.

    Raises:
        DataError, UsageError, TrainingError: see `train`.
    """
    name = teacher_name(config)
    found = find_run(places.store, name)
    if found and found.checkpoint:
        stderr.print(f"  taken from the store: {found.checkpoint}")
        return found.checkpoint
    entry = train(
        build_config(found.config) if found else config,  # one that was cut off goes on as it was begun
        places,
        name=name,
        resume=found is not None,
        experiment=experiment,
        parent_run_id=parent_run_id,
    )
    assert entry.checkpoint is not None
    return entry.checkpoint


def teacher_name(config: ExperimentConfig) -> str:
    """Name a teacher after all that shapes its weights."""
    return f"teacher-{teacher_key(config)}"
