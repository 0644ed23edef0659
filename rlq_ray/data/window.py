"""Pure: batches drawn from a window of open row groups instead of the whole set, so that a stream can serve them.

A batch has lanes: places that are served by streams of their own. A lane has row groups to itself, opens some at a
time, in random order, and closes one when its share of the epoch is used up. A rank takes whole lanes and so reads
only their row groups, while the sequence of global batches depends on the seed and the epoch alone. Row groups are
dealt anew to the lanes every epoch.

What a window costs in randomness, against drawing from the whole set: two identities meet in a batch only while both
are open, and the visits of an identity crowd into the part of the epoch in which it is open. With 300 identities of 20
images, 16×4 to a batch and a window of 32 of the 100 row groups, 85 % as many pairs of identities meet within an epoch
and 94 % as many within eight, and an identity's visits span 0.21 of an epoch instead of 0.80; with 16, the fewest
possible, 66 %, 82 % and 0.12.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlq_ray.data.identity_sampler import Wardrobe
from rlq_ray.data.partition import Rows, order_generator
from rlq_ray.data.row_groups import find_cells
from rlq_ray.errors import DataError

MAX_LANE_IMAGES = 8
"""Most images that one lane gives to an unlabelled batch: fewer lanes need fewer open row groups."""


@dataclass(frozen=True)
class _Cell:
    """Row groups that are opened together, since they share an identity, and the identities in them."""

    identities: tuple[int, ...]
    num_groups: int


class IdentityWindow:
    """Batches of P identities × K images, a lane for each of the P places.

    Within an epoch no identity occurs in two lanes, so never twice in a batch; how often two identities of a lane
    occur differs by at most 1, and lanes have equally many identities but for the last cell dealt to them. K images of
    an identity are drawn as in the whole set: all before one is repeated, at least two outfits.
    """

    def __init__(
        self,
        rows: Rows,
        group: NDArray[np.int32],
        identity: NDArray[np.int64],
        clothes: NDArray[np.int64],
        *,
        num_identities: int,
        images_per_identity: int,
        window_groups: int,
        seed: int,
    ) -> None:
        """Plan over `rows`, whose row groups, identities and clothes are given entry by entry; all ascend by group.

        Raises:
            DataError: fewer cells than lanes.
        """
        by_identity = np.argsort(identity, kind="stable")
        names, begins = np.unique(identity[by_identity], return_index=True)
        self._rows_of = dict(zip(names.tolist(), np.split(by_identity, begins[1:]), strict=True))
        self._rows, self._clothes = rows, clothes
        self._num_lanes, self._images_per_identity, self._seed = num_identities, images_per_identity, seed
        self._lane_groups = max(1, window_groups // num_identities)
        self._cells = _find_cells(group, identity)
        if len(self._cells) < num_identities:
            raise DataError(
                f"the row groups make {len(self._cells)} independent parts, a batch of {num_identities} identities "
                "needs one for each: set data.window_mb='all'"
            )

    def places(self, places: slice, *, steps: int, epoch: int) -> Rows:
        """Order some of the P places of an epoch's batches: row numbers `(steps, places, K)`."""
        cells_of_lane = self._deal(epoch)
        lanes = [self._lane(lane, cells_of_lane[lane], steps, epoch) for lane in range(places.start, places.stop)]
        return np.stack(lanes, axis=1)

    def _lane(self, lane: int, cells: list[_Cell], steps: int, epoch: int) -> Rows:
        generator = np.random.default_rng([self._seed % 2**64, epoch, lane])
        names = [name for cell in cells for name in cell.identities]
        visits = dict.fromkeys(names, steps // len(names))
        for place in generator.permutation(len(names))[: steps % len(names)].tolist():
            visits[names[place]] += 1
        drawn = np.empty((steps, self._images_per_identity), dtype=np.int64)
        wardrobes: dict[int, Wardrobe] = {}
        for step, name in enumerate(_visit(cells, visits, self._lane_groups, generator)):
            if name not in wardrobes:
                own = self._rows_of[name]
                wardrobes[name] = Wardrobe(self._rows[own], self._clothes[own], generator)
            drawn[step] = wardrobes[name].take(self._images_per_identity)
        return drawn

    def _deal(self, epoch: int) -> list[list[_Cell]]:
        """Deal shuffled cells, each to the lane that has the fewest identities so far."""
        lanes: list[list[_Cell]] = [[] for _ in range(self._num_lanes)]
        poorest = [(0, lane) for lane in range(self._num_lanes)]
        for place in order_generator(self._seed, epoch).permutation(len(self._cells)).tolist():
            cell = self._cells[place]
            count, lane = heapq.heappop(poorest)
            lanes[lane].append(cell)
            heapq.heappush(poorest, (count + len(cell.identities), lane))
        return lanes


class ImageWindow:
    """Batches of B unlabelled images, each image once in an epoch but for the rest that fills no batch.

    Lanes give up to `MAX_LANE_IMAGES` images each. An epoch's shuffled row groups are cut into one stretch for each
    lane, so that two lanes share a row group at most where their stretches meet.
    """

    def __init__(self, rows: Rows, group: NDArray[np.int32], *, num_images: int, window_groups: int, seed: int) -> None:
        """Plan over `rows`, whose row groups are given entry by entry and ascend."""
        self._rows, self._seed = rows, seed
        self._group = np.unique(group, return_inverse=True)[1].astype(np.int32)
        self._begin = np.flatnonzero(np.diff(self._group, prepend=-1))
        self._lane_images = num_images // num_lanes(num_images)
        self._steps = len(rows) // num_images
        self._lane_groups = max(1, window_groups // num_lanes(num_images))

    def places(self, places: slice, *, epoch: int) -> Rows:
        """Order some places of an epoch's batches: row numbers `(steps, places)`."""
        first, last = places.start // self._lane_images, (places.stop - 1) // self._lane_images
        lanes = np.concatenate([self._lane(lane, epoch) for lane in range(first, last + 1)], axis=1)
        return lanes[:, places.start - first * self._lane_images :][:, : places.stop - places.start]

    def _lane(self, lane: int, epoch: int) -> Rows:
        turn_of_group = np.argsort(order_generator(self._seed, epoch).permutation(len(self._begin)))
        order = np.argsort(turn_of_group[self._group], kind="stable")
        length = self._steps * self._lane_images
        stretch = order[lane * length : (lane + 1) * length]
        if lane % 2:  # neighbours share a row group where their stretches meet: both come to it at the same time
            stretch = stretch[::-1]
        generator = np.random.default_rng([self._seed % 2**64, epoch, lane])
        return self._rows[self._shuffle(stretch, generator)].reshape(self._steps, self._lane_images)

    def _shuffle(self, stretch: Rows, generator: np.random.Generator) -> Rows:
        """Draw from as many row groups as the lane may have open; one that is used up makes room for the next."""
        waiting = deque(np.split(stretch, np.flatnonzero(np.diff(self._group[stretch])) + 1))
        left: dict[int, int] = {}
        pool: list[int] = []
        drawn = np.empty_like(stretch)
        for place, chance in enumerate(generator.random(len(stretch)).tolist()):
            while waiting and len(left) < self._lane_groups:
                opened = waiting.popleft()
                left[int(self._group[opened[0]])] = len(opened)
                pool += opened.tolist()
            pick = int(chance * len(pool))
            pool[pick], pool[-1] = pool[-1], pool[pick]
            drawn[place] = pool.pop()
            of_group = int(self._group[drawn[place]])
            left[of_group] -= 1
            if not left[of_group]:
                del left[of_group]
        return drawn


def num_lanes(num_images: int) -> int:
    """Count the lanes of a batch of unlabelled images."""
    return num_images // next(size for size in range(MAX_LANE_IMAGES, 0, -1) if num_images % size == 0)


def _find_cells(group: NDArray[np.int32], identity: NDArray[np.int64]) -> list[_Cell]:
    cell_of_row = find_cells(group, identity)
    starts = np.append(np.flatnonzero(np.diff(cell_of_row, prepend=-1)), len(cell_of_row))
    return [
        _Cell(tuple(np.unique(identity[begin:end]).tolist()), len(np.unique(group[begin:end])))
        for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
    ]


def _visit(
    cells: list[_Cell], visits: dict[int, int], max_groups: int, generator: np.random.Generator
) -> Iterator[int]:
    """Name the identity of every step, drawn among the open cells, but not the last one again if there is another."""
    waiting = deque(cell for cell in cells if any(visits[name] for name in cell.identities))
    open_cells: list[_Cell] = []
    last = None
    for _ in range(sum(visits.values())):
        open_cells = [cell for cell in open_cells if any(visits[name] for name in cell.identities)]
        while waiting and (
            not open_cells or sum(cell.num_groups for cell in open_cells) + waiting[0].num_groups <= max_groups
        ):
            open_cells.append(waiting.popleft())
        choice = [name for cell in open_cells for name in cell.identities if visits[name]]
        others = [name for name in choice if name != last] or choice
        last = others[generator.integers(len(others))]
        visits[last] -= 1
        yield last
