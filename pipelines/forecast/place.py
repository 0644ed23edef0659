"""Whether nodes have the memory for workers that Ray, which counts CPUs and GPUs alone, would place there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.forecast.training import TrainingCost
from rlq_ray.distributed.driver import living_nodes
from tuning.room import Need

GIB = 2**30


def memory_remarks(
    cost: TrainingCost, need: Need, at_a_time: int, nodes: Iterable[Mapping[str, Any]] | None = None
) -> list[str]:
    """Tell of every node that may lack memory, with the arithmetic.

    Args:
        cost: of a training.
        need: what it takes of the cluster.
        at_a_time: trainings.
        nodes: resources of each; by default those of the connected cluster.
    """
    remarks = []
    left = need.workers * at_a_time
    for resources in living_nodes() if nodes is None else nodes:
        fitting = min(int(resources.get(kind.upper(), 0) // amount) for kind, amount in need.each.items())
        workers = min(fitting, left)
        left -= workers
        low, high = (workers * end / GIB for end in cost.memory_bytes)
        has = (resources.get("memory", 0) + resources.get("object_store_memory", 0)) / GIB
        if has and high > has:
            who = f"{workers} worker{'' if workers == 1 else 's'}"
            remarks.append(
                f"memory {'does not' if low > has else 'may not'} suffice: {who} may take {low:.1f} to {high:.1f} GiB "
                f"together on a node that has {has:.1f} GiB for them"
            )
    if cost.gpu_bytes and cost.gpu_total_bytes and cost.gpu_bytes.high > cost.gpu_total_bytes:
        remarks.append(
            f"the GPU's memory may not suffice: {cost.gpu_bytes.low / GIB:.1f} to {cost.gpu_bytes.high / GIB:.1f} of "
            f"{cost.gpu_total_bytes / GIB:.1f} GiB"
        )
    return remarks
