"""What a worker logs, as JSON: one object a line on its error output, which Ray keeps among the logs of its node."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
from collections.abc import Iterator

from pythonjsonlogger.json import JsonFormatter
from ray.util import get_node_ip_address

from rlq_ray.collectives import World

LOGGER = logging.getLogger("rlq_ray")
"""Parent of all loggers of the library."""
FIELDS = {"levelname": "level", "name": "logger", "exc_info": "traceback"}
"""Fields of a line by what Python calls them."""


@contextlib.contextmanager
def log_lines(run: str, run_id: str | None, world: World) -> Iterator[None]:
    """Write what is logged in the block, and an error that ends it, each line with its origin.

    Args:
        run: name of the training.
        run_id: the tracker's.
        world: which worker this is.
    """
    origin = {
        "run": run,
        "run_id": run_id,
        "rank": world.rank,
        "workers": world.size,
        "node": get_node_ip_address(),
        "host": socket.gethostname(),
    }
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            "%(levelname)s %(name)s %(message)s", timestamp="time", rename_fields=FIELDS, static_fields=origin
        )
    )
    level, propagates = LOGGER.level, LOGGER.propagate
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False  # a line comes once
    try:
        yield
    except Exception:
        LOGGER.exception("the training failed on this worker")
        raise
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
        LOGGER.propagate = propagates
