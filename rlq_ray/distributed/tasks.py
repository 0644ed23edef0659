"""Many independent pieces of work as Ray tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import ray

from rlq_ray.errors import ServiceError

Item = TypeVar("Item")
Result = TypeVar("Result")


def cluster_cpus() -> int:
    """Count the CPUs of the connected cluster."""
    return int(ray.cluster_resources().get("CPU", 0))


def map_on_cluster(
    function: Callable[[Item], Result], items: Sequence[Item], *, advance: Callable[[], None] | None = None
) -> list[Result]:
    """Call a function on every item, one CPU each, and return the results in the items' order.

    Args:
        function: of the library, so that workers can import it; the same item must give the same result, since a task
            that dies with its node runs again.
        items: what travels to the workers; small.
        advance: is called after each item that is done.

    Raises:
        Exception: what the function raised first; the other tasks are cancelled.
        ServiceError: a task died.
    """
    remote = ray.remote(num_cpus=1)(_call)
    references: list[Any] = [remote.remote(function, item) for item in items]
    waiting = list(references)
    try:
        while waiting:
            (done,), waiting = ray.wait(waiting, num_returns=1)
            ray.get(done)
            if advance:
                advance()
        return list(ray.get(references))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise ServiceError(f"a task died ({type(error).__name__}): call again, or add memory to the nodes") from error
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    return function(item)
