"""The teacher: the base model on the external set, trained once and kept in the store by what went into it."""

from __future__ import annotations

from pipelines.console import stderr
from pipelines.places import EXPERIMENT, Places
from pipelines.train import train
from rlq_ray.config.load import build_config, fingerprint, to_dict
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.data import read_manifest
from rlq_ray.distributed.runs import find_run
from rlq_ray.storage import locate

CHANGES_NOTHING = {"name", "teacher", "workers", "evaluate", "degrade"}
"""Sections that leave a base model's weights as they are, but for the number of workers and what chooses the best."""
READING_ONLY = {
    *("target", "external", "decode_threads", "prefetch_batches", "read_threads", "read_ahead_batches"),
    *("cache_mb", "disk_cache_mb"),
}
"""Data settings that change where and how fast images are read, not which."""


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
    settings = {key: value for key, value in to_dict(config).items() if key not in CHANGES_NOTHING}
    settings |= {"workers": config.workers.count, "select_on": config.evaluate.select_on}
    settings["data"] = {key: value for key, value in settings["data"].items() if key not in READING_ONLY}
    images = read_manifest(locate(config.data.target)).content_hash
    return f"teacher-{fingerprint({'settings': settings, 'images': images})[:12]}"
