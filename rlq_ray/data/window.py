"""Pure: batches drawn from a window of open row groups instead of the whole set, so that a stream can serve them.

A batch has lanes: places that are served by a stream of their own. A lane has row groups nearly to itself, opens some
at a time, in random order, and closes one when its share of the epoch is used up. A rank serves its places from their
lanes and reads only their row groups, while the sequence of global batches depends on the seed and the epoch alone;
ranks beyond the number of lanes share them. Row groups are dealt anew to the lanes every epoch.

What a window costs in randomness, against drawing from the whole set: two identities meet in a batch only while both
are open, and the visits of an identity crowd into the part of the epoch in which it is open. With 300 identities of 20
images in 100 row groups and 16×4 to a batch, a window of 32 row groups lets 87 % as many pairs of identities meet
within an epoch and 94 % as many within eight, and an identity's visits span 0.20 of an epoch instead of 0.80; a window
of 8 lets 47 % and 68 % meet, and visits span 0.06. Where lanes have one place each, identities that share a row group
never meet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlq_ray.data.identity_sampler import Wardrobe
from rlq_ray.data.partition import Rows, order_generator, places_of_names
from rlq_ray.data.row_groups import find_cells
from rlq_ray.errors import UsageError

MAX_LANES = 16
"""More lanes let more workers read apart, but the first batch waits for a row group of each."""
MIN_LANE_GROUPS = 2
"""Row groups that a lane has open, if the window allows: one that is being used up, and the next."""


@dataclass(frozen=True)
class _Cell:
    """Row groups that are opened together, since they share an identity, and identities in them."""

    identities: tuple[int, ...]
    num_groups: int


def num_lanes(places: int, window_groups: int) -> int:
    """Count the lanes that a batch of so many identities or images is cut into; they divide it evenly."""
    most = max(1, min(MAX_LANES, window_groups // MIN_LANE_GROUPS))
    return next(lanes for lanes in range(min(most, places), 0, -1) if places % lanes == 0)


class IdentityWindow:
    """Batches of P identities × K images.

    Within an epoch an identity belongs to one lane, so it never comes twice in a batch; lanes have equally many
    identities, or one more, and how often two identities of a lane come differs by at most 1. K images of an identity
    are drawn as in the whole set: all before one is repeated, at least two outfits.
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
            UsageError: the window cannot hold the identities of one batch.
        """
        self._rows_of = places_of_names(identity)
        self._rows, self._clothes = rows, clothes
        self._images_per_identity, self._seed = images_per_identity, seed
        self.num_lanes = num_lanes(num_identities, window_groups)
        self._lane_places = num_identities // self.num_lanes
        self._lane_groups = max(1, window_groups // self.num_lanes)
        self._cells = _find_cells(group, identity)
        self._refuse_small(num_identities, window_groups)

    def places(self, places: slice, *, steps: int, epoch: int) -> Rows:
        """Order some of the P places of an epoch's batches: row numbers `(steps, places, K)`."""
        dealt = self._deal(epoch)
        first, last = places.start // self._lane_places, (places.stop - 1) // self._lane_places
        lanes = [self._lane(lane, dealt[lane], steps, epoch) for lane in range(first, last + 1)]
        offset = places.start - first * self._lane_places
        return np.concatenate(lanes, axis=1)[:, offset : offset + places.stop - places.start]

    def _refuse_small(self, num_identities: int, window_groups: int) -> None:
        """Refuse a window that cannot hold a batch, whichever cells come together."""
        smallest_first = np.cumsum(sorted(len(cell.identities) for cell in self._cells))
        num_cells = int(np.searchsorted(smallest_first, self._lane_places)) + 1
        largest = max(cell.num_groups for cell in self._cells)
        needed = self.num_lanes * num_cells * largest
        if needed > window_groups:
            raise UsageError(
                f"data.window_mb holds {window_groups} row groups, but {num_identities} identities of up to {largest} "
                f"row groups may need {needed} at once: multiply it by {-(-needed // window_groups)}, or set it to all"
            )

    def _deal(self, epoch: int) -> list[list[_Cell]]:
        """Cut the identities of shuffled cells into a stretch for each lane; two may share a cell where they meet."""
        order = order_generator(self._seed, epoch).permutation(len(self._cells)).tolist()
        placed = [(name, place) for place in order for name in self._cells[place].identities]
        lanes = []
        for lane, stretch in enumerate(np.array_split(np.arange(len(placed)), self.num_lanes)):
            of_cell: dict[int, list[int]] = {}
            for position in stretch.tolist():
                name, place = placed[position]
                of_cell.setdefault(place, []).append(name)
            cells = [_Cell(tuple(names), self._cells[place].num_groups) for place, names in of_cell.items()]
            lanes.append(cells[::-1] if lane % 2 else cells)  # neighbours come to a shared cell at the same time
        return lanes

    def _lane(self, lane: int, cells: list[_Cell], steps: int, epoch: int) -> Rows:
        """Order the places of a lane: row numbers `(steps, places, K)`."""
        generator = np.random.default_rng([self._seed % 2**64, epoch, lane])
        names = [name for cell in cells for name in cell.identities]
        each, extra = divmod(steps * self._lane_places, len(names))
        visits = dict.fromkeys(names, each)
        for place in generator.permutation(len(names))[:extra].tolist():
            visits[names[place]] += 1
        drawn = np.empty((steps, self._lane_places, self._images_per_identity), dtype=np.int64)
        wardrobes: dict[int, Wardrobe] = {}
        for step, chosen in enumerate(_visit(cells, visits, self._lane_places, self._lane_groups, generator)):
            for place, name in enumerate(chosen):
                if name not in wardrobes:
                    own = self._rows_of[name]
                    wardrobes[name] = Wardrobe(self._rows[own], self._clothes[own], generator)
                drawn[step, place] = wardrobes[name].take(self._images_per_identity)
        return drawn


class ImageWindow:
    """Batches of B unlabelled images, each image once in an epoch but for the rest that fills no batch.

    An epoch's shuffled row groups are cut into one stretch for each lane, so that two lanes share a row group at most
    where their stretches meet.
    """

    def __init__(self, rows: Rows, group: NDArray[np.int32], *, num_images: int, window_groups: int, seed: int) -> None:
        """Plan over `rows`, whose row groups are given entry by entry and ascend."""
        self._rows, self._seed = rows, seed
        self._group = np.unique(group, return_inverse=True)[1].astype(np.int32)
        self._num_groups = int(self._group[-1]) + 1
        self.num_lanes = num_lanes(num_images, window_groups)
        self._lane_images = num_images // self.num_lanes
        self._steps = len(rows) // num_images
        self._lane_groups = max(1, window_groups // self.num_lanes)

    def places(self, places: slice, *, epoch: int) -> Rows:
        """Order some places of an epoch's batches: row numbers `(steps, places)`."""
        turn_of_group = np.argsort(order_generator(self._seed, epoch).permutation(self._num_groups))
        order = np.argsort(turn_of_group[self._group], kind="stable")
        first, last = places.start // self._lane_images, (places.stop - 1) // self._lane_images
        lanes = np.concatenate([self._lane(order, lane, epoch) for lane in range(first, last + 1)], axis=1)
        return lanes[:, places.start - first * self._lane_images :][:, : places.stop - places.start]

    def _lane(self, order: Rows, lane: int, epoch: int) -> Rows:
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


def _find_cells(group: NDArray[np.int32], identity: NDArray[np.int64]) -> list[_Cell]:
    cell_of_row = find_cells(group, identity)
    starts = np.append(np.flatnonzero(np.diff(cell_of_row, prepend=-1)), len(cell_of_row))
    return [
        _Cell(tuple(np.unique(identity[begin:end]).tolist()), len(np.unique(group[begin:end])))
        for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
    ]


def _visit(
    cells: list[_Cell], visits: dict[int, int], places: int, max_groups: int, generator: np.random.Generator
) -> Iterator[list[int]]:
    """Name the identities of every step: so many different ones, drawn among the open cells.

    An identity is the likelier to be drawn the more visits it has left, and certain to be once it needs every step that
    is left. A cell is opened when there is room; when the open ones have too few identities; and in time for its own.
    """
    waiting = deque(cell for cell in cells if any(visits[name] for name in cell.identities))
    cell_of = {name: cell for cell in waiting for name in cell.identities}
    unfinished = {cell: sum(visits[name] > 0 for name in cell.identities) for cell in waiting}
    choice: list[int] = []
    open_groups = 0
    steps_left, most_visits = sum(visits.values()) // places, max(visits.values())
    while steps_left:
        while waiting and (
            open_groups + waiting[0].num_groups <= max_groups or len(choice) < places or steps_left <= most_visits
        ):
            opened = waiting.popleft()
            open_groups += opened.num_groups
            choice += [name for name in opened.identities if visits[name]]
        left = np.array([visits[name] for name in choice], dtype=np.float64)
        luck = generator.random(len(choice)) ** (1 / left)  # draws without repetition, in proportion to `left`
        luck[left >= steps_left] = 2.0
        chosen = [choice[place] for place in (-luck).argsort()[:places].tolist()]
        for name in chosen:
            visits[name] -= 1
            if not visits[name]:
                choice.remove(name)
                cell = cell_of[name]
                unfinished[cell] -= 1
                if not unfinished[cell]:
                    open_groups -= cell.num_groups
        steps_left -= 1
        yield chosen
