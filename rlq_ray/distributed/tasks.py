"""Many independent pieces of work as Ray tasks."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, TypeVar

import ray

from rlq_ray.build_stamp import require_package, submitted_hash
from rlq_ray.errors import ServiceError

Item = TypeVar("Item")
Result = TypeVar("Result")

TASKS_PER_CPU = 2
"""Tasks that are under way or wait: enough that no CPU pauses, and few enough that their items fit Ray's store."""


def cluster_cpus() -> int:
    """Count the CPUs of the connected cluster."""
    return int(ray.cluster_resources().get("CPU", 0))


def map_on_cluster(
    function: Callable[[Item], Result], items: Iterable[Item], *, advance: Callable[[], None] | None = None
) -> list[Result]:
    """Call a function on every item, one CPU each, and return the results in the items' order.

    Args:
        function: of the library, so that workers can import it; the same item must give the same result, since a task
            that dies with its node runs again.
        items: what travels to the workers, a few at a time.
        advance: is called after each item that is done.

    Raises:
        Exception: what the function raised first; the other tasks are cancelled.
        ServiceError: a task died.
    """
    remote, package = ray.remote(num_cpus=1)(_call), submitted_hash()
    waiting = enumerate(items)
    results: dict[int, Result] = {}
    under_way: dict[Any, int] = {}
    try:
        while True:
            room = TASKS_PER_CPU * max(1, cluster_cpus()) - len(under_way)  # again and again: a cluster may grow
            calls = {remote.remote(package, function, item): number for number, item in islice(waiting, max(0, room))}
            under_way |= calls
            if not under_way:
                return [results[number] for number in sorted(results)]
            (done,), _ = ray.wait(list(under_way), num_returns=1)
            results[under_way[done]] = _own_copy(ray.get(done))
            del under_way[done]
            if advance:
                advance()
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise ServiceError(f"a task died ({type(error).__name__}): call again, or add memory to the nodes") from error
    finally:
        for reference in under_way:
            ray.cancel(reference, force=True)


def _call(package: str | None, function: Callable[[Item], Result], item: Item) -> Result:
    require_package(package)
    return function(item)


def _own_copy(result: Result) -> Result:
    """Copy a result out of Ray's store, which is small and would keep it for as long as its arrays are in use."""
    copy: Result = pickle.loads(pickle.dumps(result, protocol=5))
    return copy
