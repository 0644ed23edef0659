"""What epochs will read from the store, told from their plans alone. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from rlq_ray.data.read_ahead import EpochPlan


def reads_of(
    plans: Iterable[EpochPlan], size_of: Callable[[int], int], *, max_bytes: int, is_kept: bool
) -> tuple[tuple[int, ...], int]:
    """Go through epochs one after another from the first on, as `OpenGroups` holds row groups.

    Args:
        plans: of the epochs.
        size_of: bytes of a row group.
        max_bytes: of memory; what was used longest ago gives way first.
        is_kept: whether nothing is forgotten before that.

    Returns:
        bytes that each epoch reads, and the most that is held at a time.
    """
    held: OrderedDict[int, int] = OrderedDict()
    total = most = 0
    read_bytes = []
    for plan in plans:
        read = 0
        for needed, closing in zip(plan.groups, plan.closing, strict=True):
            for group in needed.tolist():
                if group in held:
                    held.move_to_end(group)
                    continue
                held[group] = size_of(group)
                read += held[group]
                total += held[group]
                while total > max_bytes and len(held) > 1:
                    total -= held.popitem(last=False)[1]
                most = max(most, total)
            for group in [] if is_kept else closing.tolist():
                total -= held.pop(group, 0)
        read_bytes.append(read)
    return tuple(read_bytes), most
