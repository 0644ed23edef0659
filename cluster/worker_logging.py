"""What Ray's own parts say in worker processes; run once in each before its first task."""

from __future__ import annotations

import logging
from pathlib import Path

import ray

TRAIN = Path(ray.__file__).parent / "train" / "v2" / "_internal" / "execution"
CHATTERING_LOGGERS = (
    "ray.train.v2._internal.execution.controller.placement_group_cleaner",  # asks a dashboard every second
    str(TRAIN / "context.py"),  # a line per report and worker; Ray Train names this logger after the file
)


def quieten() -> None:
    """Keep lines about nothing from the workers' output."""
    for name in CHATTERING_LOGGERS:  # by a filter, since Ray Train sets their levels again
        logging.getLogger(name).addFilter(_is_error)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
