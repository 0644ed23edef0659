"""Rows to a batch of tensors: decoded images beside their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from rlq_ray.data.decode import decode_mask_onto, decode_onto
from rlq_ray.data.index import UNKNOWN
from rlq_ray.data.partition import Rows
from rlq_ray.data.reader import DataSet, EncodedImage
from rlq_ray.types import Batch, ClassSpace


@dataclass(frozen=True)
class Labels:
    """Class numbers of every row of a data set, −1 where unknown."""

    identity: NDArray[np.int64]
    clothes: NDArray[np.int64]
    camera: NDArray[np.int64]
    gender: NDArray[np.int64]
    pose: NDArray[np.int64]

    @classmethod
    def of_classes(cls, dataset: DataSet, classes: ClassSpace) -> Self:
        """Number identities and clothes as the classes do; −1 outside them."""
        return cls._over(
            dataset,
            _number(dataset.index.identity, classes.identities),
            _number(dataset.index.clothes, classes.clothes),
        )

    @classmethod
    def of_data_set(cls, dataset: DataSet) -> Self:
        """Number identities and clothes over the whole data set, in the order of their names."""
        identity = np.unique(dataset.index.identity, return_inverse=True)[1]
        clothes = np.unique(dataset.index.clothes, return_inverse=True)[1]
        return cls._over(dataset, identity, clothes)

    @classmethod
    def unknown(cls, dataset: DataSet) -> Self:
        """Know nothing of any row."""
        nothing = np.full(len(dataset), UNKNOWN, dtype=np.int64)
        return cls(nothing, nothing, nothing, nothing, nothing)

    @classmethod
    def _over(cls, dataset: DataSet, identity: NDArray[np.int64], clothes: NDArray[np.int64]) -> Self:
        index = dataset.index
        pose = index.pose.astype(np.int64) if dataset.manifest.pose else np.full(len(index), UNKNOWN, dtype=np.int64)
        return cls(identity, clothes, index.camera.astype(np.int64), index.gender.astype(np.int64), pose)


def _number(names: NDArray[np.str_], classes: tuple[str, ...]) -> NDArray[np.int64]:
    number_of = {name: number for number, name in enumerate(classes)}
    return np.array([number_of.get(name, UNKNOWN) for name in names.tolist()], dtype=np.int64)


def assemble_batch(dataset: DataSet, rows: Rows, labels: Labels, *, height: int, width: int, with_masks: bool) -> Batch:
    """Read and decode rows onto a canvas of `height` × `width` pixels, into pinned memory if there is a CUDA device.

    The image tensor is `(B, 3, H, W)` in channels-last memory. An image with faulty masks has their union as shirt and
    no trousers; one without masks counts as faulty, with an empty union.

    Raises:
        DataError: an image or shard cannot be read.
    """
    pin = torch.cuda.is_available()
    image_BHWC = torch.empty((len(rows), height, width, 3), dtype=torch.uint8, pin_memory=pin)
    canvas_BHWC = image_BHWC.numpy()
    masks_2BHW = np.zeros((2, len(rows), height, width), dtype=np.bool_) if with_masks else None
    faulty_B = np.zeros(len(rows), dtype=np.bool_)
    for place, row in enumerate(rows.tolist()):
        encoded = dataset.read_row(row, masks=with_masks)
        decode_onto(canvas_BHWC[place], encoded.image, encoded.source)
        if masks_2BHW is not None:
            known_faulty = bool(dataset.index.mask_faulty[row])
            faulty_B[place] = _decode_masks(masks_2BHW[:, place], encoded, known_faulty)
    shirt_B1HW = trousers_B1HW = mask_faulty_B = None
    if masks_2BHW is not None:
        shirt_B1HW, trousers_B1HW = (_tensor(mask[:, None], pin) for mask in masks_2BHW)
        mask_faulty_B = _tensor(faulty_B, pin)
    size_B2 = np.stack([dataset.index.height[rows], dataset.index.width[rows]], axis=1).astype(np.int64)
    return Batch(
        image_BCHW=image_BHWC.permute(0, 3, 1, 2),
        identity_B=_tensor(labels.identity[rows], pin),
        clothes_B=_tensor(labels.clothes[rows], pin),
        camera_B=_tensor(labels.camera[rows], pin),
        gender_B=_tensor(labels.gender[rows], pin),
        pose_B=_tensor(labels.pose[rows], pin),
        original_size_B2=_tensor(size_B2, pin),
        row_B=_tensor(rows.astype(np.int64), pin),
        shirt_B1HW=shirt_B1HW,
        trousers_B1HW=trousers_B1HW,
        mask_faulty_B=mask_faulty_B,
    )


def _decode_masks(slot_2HW: NDArray[np.bool_], encoded: EncodedImage, known_faulty: bool) -> bool:
    """Decode shirt and trousers into the slot, or their union as shirt; tell whether it is the union."""
    shirt, trousers, clothes = encoded.shirt_mask, encoded.trousers_mask, encoded.clothes_mask
    if not known_faulty and shirt is not None and trousers is not None:
        decode_mask_onto(slot_2HW[0], shirt, encoded.source)
        decode_mask_onto(slot_2HW[1], trousers, encoded.source)
        return False
    union_HW = slot_2HW[0]
    part_HW = np.empty_like(union_HW)
    for mask in (clothes,) if clothes is not None else (shirt, trousers):
        if mask is not None:
            decode_mask_onto(part_HW, mask, encoded.source)
            union_HW |= part_HW
    return True


def _tensor(array: NDArray[np.generic], pin: bool) -> torch.Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory() if pin else tensor
