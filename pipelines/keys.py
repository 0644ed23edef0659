"""What a training's result depends on, as a short key: the same images and settings, wherever the images lie."""

from __future__ import annotations

from typing import Any

from rlq_ray.config.load import fingerprint, to_dict
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.data import read_manifest
from rlq_ray.storage import locate

READING_ONLY = {
    *("target", "external", "decode_threads", "prefetch_batches", "read_threads", "read_ahead_batches"),
    *("cache_mb", "disk_cache_mb"),
}
"""Data settings that change where and how fast images are read, not which."""
TEACHER_LEAVES_OUT = {"name", "teacher", "workers", "evaluate", "degrade"}
"""Sections that leave a base model's weights as they are, but for the number of workers and what chooses the best."""


def teacher_key(config: ExperimentConfig) -> str:
    """Name all that shapes the weights of a teacher, which is a base model.

    Raises:
        DataError: its data set cannot be read.
    """
    settings = _settings(config, TEACHER_LEAVES_OUT) | {"select_on": config.evaluate.select_on}
    return fingerprint({"settings": settings, "images": read_manifest(locate(config.data.target)).content_hash})[:12]


def training_key(config: ExperimentConfig, teacher: str | None) -> str:
    """Name all that shapes a training and its evaluation, given its teacher's key.

    Raises:
        DataError: a data set cannot be read.
    """
    sources = {"target": config.data.target, "external": config.data.external if config.schedule.tad_steps else None}
    images = {role: read_manifest(locate(uri)).content_hash for role, uri in sources.items() if uri}
    settings = _settings(config, {"name", "teacher", "workers"})
    return fingerprint({"settings": settings, "images": images, "teacher": teacher})[:12]


def _settings(config: ExperimentConfig, leaving_out: set[str]) -> dict[str, Any]:
    settings = {key: value for key, value in to_dict(config).items() if key not in leaving_out}
    settings["data"] = {key: value for key, value in settings["data"].items() if key not in READING_ONLY}
    return settings | {"workers": config.workers.count}
