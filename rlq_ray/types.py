"""The values that travel between the parts, and the legend of shape letters.

B batch, C channels, H height, W width, D feature, P identities (classes), Q query, G gallery, J joints.
Knows tensors only: neither files nor Ray nor MLflow.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Images of one optimiser step on one worker, with what is known of them.

    `image_BCHW` is uint8 RGB in 0…255. Labels are int64 and −1 where unknown. Masks are bool `(B, 1, H, W)` in the
    image's own pixels, or None where the data set has none. An image whose masks are faulty keeps only their union.
    `original_size_B2` is (height, width) of the stored image in pixels, before it was brought to `image_BCHW`.
    `row_B` is the image's row in the data set: unique, and the seed of whatever is drawn per image. `taught_2BD` is a
    teacher's clothes and identity feature of each image under the augmentation draw number `draw`, float16 of unit
    length; both are None where the teacher is asked itself.
    """

    image_BCHW: Tensor
    identity_B: Tensor
    clothes_B: Tensor
    camera_B: Tensor
    gender_B: Tensor
    pose_B: Tensor
    original_size_B2: Tensor
    row_B: Tensor
    shirt_B1HW: Tensor | None = None
    trousers_B1HW: Tensor | None = None
    mask_faulty_B: Tensor | None = None
    taught_2BD: Tensor | None = None
    draw: int | None = None

    def __len__(self) -> int:
        return self.image_BCHW.shape[0]

    def to(self, device: torch.device) -> Batch:
        """Copy to a device without waiting for it."""
        moved: dict[str, Any] = {
            f.name: value.to(device, non_blocking=True)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class LoaderCounts:
    """What a loader delivered, how long its user waited for it, and what it read from the store, since it was opened.

    `requests` counts reads; `retries` those that had to be tried again, `hedges` those asked for twice since the store
    was slow.
    """

    images: int
    stall_s: float
    read_bytes: int
    requests: int
    retries: int
    hedges: int

    def __sub__(self, earlier: LoaderCounts) -> LoaderCounts:
        """Say what came to pass since an earlier look."""
        return LoaderCounts(*(getattr(self, f.name) - getattr(earlier, f.name) for f in fields(self)))


@dataclass(frozen=True)
class Foresight:
    """What a loader will read: bytes of each of the first epochs, the most that it holds of them, and all there is.

    `is_kept` says that memory holds all, so that nothing is read twice.
    """

    read_bytes: tuple[int, ...]
    held_bytes: int
    all_bytes: int
    is_kept: bool

    def total(self, epochs: float) -> int:
        """Add up what so many epochs read; those that are not foreseen read as much as the last one that is."""
        whole, known = int(epochs), len(self.read_bytes)
        each = [self.read_bytes[min(epoch, known - 1)] for epoch in range(whole + 1)]
        total = int(sum(each[:whole]) + (epochs - whole) * each[whole])
        return min(total, self.all_bytes) if self.is_kept else total


@dataclass(frozen=True)
class ClassSpace:
    """What the labels of a training set mean; a network's heads are as wide as these.

    `identities` and `clothes` list the data set's own names in class order; `identity_of_clothes` gives for every
    clothes class the identity class that wears it, −1 where unknown. `pose_clusters` counts k-means clusters, without
    class 0 = no pose.
    """

    identities: tuple[str, ...]
    clothes: tuple[str, ...]
    identity_of_clothes: tuple[int, ...]
    pose_clusters: int

    def __post_init__(self) -> None:
        assert len(self.clothes) == len(self.identity_of_clothes)
