"""What a training's result depends on, as a short key: the same images and settings, wherever the images lie."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rlq_ray.config.load import fingerprint, to_dict
from rlq_ray.config.schema import TAD_TERMS, ExperimentConfig
from rlq_ray.data import read_manifest
from rlq_ray.storage import locate
from rlq_ray.train.checkpoint import state_hash

CHANGES_NO_RESULT = {
    "data": {
        *("target", "external", "decode_threads", "prefetch_batches", "read_threads", "read_ahead_batches"),
        *("cache_mb", "disk_cache_mb"),
    },
    "evaluate": {"bootstrap_samples", "batch_images"},
    "train": {"log_every_steps"},
}
"""Settings, by section, that change where and how fast something is read or written, not what comes out."""

TAD_ALONE = {"batch": {"external_images"}, "degrade": {"distil_degraded"}}
"""Settings, by section, that only a training with TAD steps looks at, beside the weights of their terms."""


def teacher_key(config: ExperimentConfig) -> str:
    """Name all that shapes the weights of a teacher, which is a base model.

    Raises:
        DataError: its data set cannot be read.
    """
    settings = _settings(config, {"name", "teacher", "evaluate", "degrade"})
    settings |= {"select_on": config.evaluate.select_on}
    if config.degrade.target_probability:
        settings |= {"degrade": to_dict(config.degrade)}
    return fingerprint({"settings": settings, "images": read_manifest(locate(config.data.target)).content_hash})[:12]


def training_key(config: ExperimentConfig) -> str:
    """Name all that shapes a training and its evaluation; other checkpoints count by their weights.

    Raises:
        DataError: a data set cannot be read.
        CheckpointError: the teacher, or the checkpoint that it starts from, is missing.
    """
    sources = {"target": config.data.target, "external": config.data.external if config.schedule.tad_steps else None}
    images = {role: read_manifest(locate(uri)).content_hash for role, uri in sources.items() if uri}
    others = {
        "teacher": config.teacher if config.needs_teacher else None,
        "start_from": config.initial_checkpoint,
    }
    weights = {role: state_hash(locate(uri)) for role, uri in others.items() if uri}
    settings = _settings(config, {"name", "teacher", "start_from"})
    return fingerprint({"settings": settings, "images": images, "weights": weights})[:12]


def _settings(config: ExperimentConfig, leaving_out: set[str]) -> dict[str, Any]:
    if not config.needs_teacher:
        leaving_out = {*leaving_out, "teacher_draws"}
    settings = {key: value for key, value in to_dict(config).items() if key not in leaving_out}
    for section, keys in CHANGES_NO_RESULT.items():
        _leave_out(settings, section, keys)
    if not config.schedule.tad_steps:
        for section, keys in TAD_ALONE.items():
            _leave_out(settings, section, keys)
        settings["loss"] = dict(settings["loss"])
        _leave_out(settings["loss"], "weights", TAD_TERMS)
    return settings | {"workers": config.workers.count}


def _leave_out(settings: dict[str, Any], section: str, keys: Collection[str]) -> None:
    if section in settings:
        settings[section] = {key: value for key, value in settings[section].items() if key not in keys}
