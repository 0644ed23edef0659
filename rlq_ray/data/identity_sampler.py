"""Pure: batches of P identities × K images, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rlq_ray.data.partition import Rows, order_generator, places_of_names
from rlq_ray.errors import DataError


def num_identity_steps(num_images: int, num_identities: int, images_per_identity: int) -> int:
    """Count the batches that show as many images as there are; at least 1."""
    return max(1, num_images // (num_identities * images_per_identity))


def require_identities(num_there: int, num_identities: int) -> None:
    """Refuse fewer identities than a batch has.

    Raises:
        DataError: there are fewer.
    """
    if num_there < num_identities:
        raise DataError(
            f"{num_there} training identities do not fill a batch of {num_identities}: lower batch.identities"
        )


def identity_batches(
    rows: Rows,
    identity: NDArray[np.int64],
    clothes: NDArray[np.int64],
    *,
    num_identities: int,
    images_per_identity: int,
    steps: int,
    seed: int,
    epoch: int,
) -> Rows:
    """Order one epoch: batches `(steps, P, K)` of row numbers.

    `identity` and `clothes` belong to `rows`, entry by entry. No identity occurs twice in a batch, and the numbers of
    times two identities occur differ by at most 1. An identity shows at least two outfits if it has them, and all its
    images before one is repeated, unless a second outfit demands it.

    Raises:
        DataError: fewer identities than P.
    """
    generator = order_generator(seed, epoch)
    places = places_of_names(identity)
    require_identities(len(places), num_identities)
    wardrobe = {name: Wardrobe(rows[own], clothes[own], generator) for name, own in places.items()}
    turns = _Turns(np.array(list(places), dtype=np.int64), generator)
    batches = np.empty((steps, num_identities, images_per_identity), dtype=np.int64)
    for step in range(steps):
        for place, name in enumerate(turns.take(num_identities)):
            batches[step, place] = wardrobe[name].take(images_per_identity)
    return batches


class _Turns:
    """Identities in one random round after another; one that is in the batch already waits for the next batch."""

    def __init__(self, names: NDArray[np.int64], generator: np.random.Generator) -> None:
        self._names, self._generator = names, generator
        self._queue: deque[int] = deque()

    def take(self, count: int) -> list[int]:
        taken: dict[int, None] = {}
        waiting: list[int] = []
        while len(taken) < count:
            if not self._queue:
                self._queue.extend(self._generator.permutation(self._names).tolist())
            name = self._queue.popleft()
            if name in taken:
                waiting.append(name)
            else:
                taken[name] = None
        self._queue.extendleft(reversed(waiting))
        return list(taken)


class Wardrobe:
    """The images of one identity, handed out round by round with its outfits spread over each round."""

    def __init__(self, rows: Rows, clothes: NDArray[np.int64], generator: np.random.Generator) -> None:
        self._outfit_of = dict(zip(rows.tolist(), clothes.tolist(), strict=True))
        outfits: dict[int, list[int]] = {}
        for row, outfit in self._outfit_of.items():
            outfits.setdefault(outfit, []).append(row)
        self._outfits = [np.array(outfits[outfit]) for outfit in sorted(outfits)]
        self._generator = generator
        self._queue: list[int] = []
        self._taken: list[int] = []

    def take(self, count: int) -> list[int]:
        """Take the rows of the next `count` images."""
        if not self._queue:
            self._queue = self._round()
        picks = self._queue[:count]
        if len(set(picks)) == count:  # nearly always: what stands in front of the queue is what is taken
            del self._queue[:count]
        else:
            picks = []
        while len(picks) < count:
            lap = picks[len(picks) - len(picks) % len(self._outfit_of) :]
            picks.append(self._next_outside(lap))
        if count > 1 and len(self._outfits) > 1 and len({self._outfit_of[row] for row in picks}) == 1:
            self._queue.insert(0, picks[-1])
            picks[-1] = self._other_outfit(picks[0])
        self._taken += picks
        return picks

    def _next_outside(self, lap: Sequence[int]) -> int:
        place = next((i for i, row in enumerate(self._queue) if row not in lap), None)
        if place is None:
            place = len(self._queue)
            self._queue += self._round()
            place += next(i for i, row in enumerate(self._queue[place:]) if row not in lap)
        return self._queue.pop(place)

    def _other_outfit(self, row: int) -> int:
        others = [other for other, outfit in self._outfit_of.items() if outfit != self._outfit_of[row]]
        waiting = [other for other in self._queue if other in set(others)]
        if waiting:
            self._queue.remove(waiting[0])
            return waiting[0]
        last_use = {row: turn for turn, row in enumerate(self._taken)}
        return min(others, key=lambda other: last_use.get(other, -1))

    def _round(self) -> list[int]:
        """Shuffle each outfit and spread it evenly: image i of n goes to (i + chance) / n of the round."""
        order: list[tuple[float, int]] = []
        for outfit in self._outfits:
            shuffled = self._generator.permutation(outfit)
            size, chance = len(outfit), self._generator.random()
            order += zip([(place + chance) / size for place in range(size)], shuffled.tolist(), strict=True)
        return [row for _, row in sorted(order)]
