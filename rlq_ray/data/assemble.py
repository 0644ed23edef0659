"""Rows to a batch of tensors: decoded images beside their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from rlq_ray.config.schema import DataConfig
from rlq_ray.data.buffers import BufferPool
from rlq_ray.data.decode import decode_batch, decode_mask_onto, decode_onto, decode_plain_onto
from rlq_ray.data.index import UNKNOWN, Names
from rlq_ray.data.partition import Rows
from rlq_ray.data.reader import DataSet, EncodedImage
from rlq_ray.errors import UsageError
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
    def of_classes(cls, dataset: DataSet, classes: ClassSpace, *, prefix: str = "") -> Self:
        """Number identities and clothes as the classes do, where they are called prefix + name; −1 outside them."""
        return cls._over(
            dataset,
            _number(dataset.index.identity, classes.identities, prefix),
            _number(dataset.index.clothes, classes.clothes, prefix),
        )

    @classmethod
    def of_data_set(cls, dataset: DataSet) -> Self:
        """Number identities and clothes over the whole data set, in the order of their names."""
        return cls._over(dataset, dataset.index.identity.codes, dataset.index.clothes.codes)

    @classmethod
    def unknown(cls, dataset: DataSet) -> Self:
        """Know nothing of any row."""
        nothing = np.full(len(dataset), UNKNOWN, dtype=np.int64)
        return cls(nothing, nothing, nothing, nothing, nothing)

    @classmethod
    def _over(cls, dataset: DataSet, identity: NDArray[np.integer[Any]], clothes: NDArray[np.integer[Any]]) -> Self:
        index = dataset.index
        pose = index.pose.astype(np.int64) if dataset.manifest.pose else np.full(len(index), UNKNOWN, dtype=np.int64)
        return cls(
            identity.astype(np.int64),
            clothes.astype(np.int64),
            index.camera.astype(np.int64),
            index.gender.astype(np.int64),
            pose,
        )


def _number(column: Names, classes: tuple[str, ...], prefix: str) -> NDArray[np.int64]:
    class_of_name = {name: number for number, name in enumerate(classes)}
    numbers = [class_of_name.get(prefix + name, UNKNOWN) for name in column.names.tolist()]
    return np.array(numbers, dtype=np.int64)[column.codes]


class Assembler:
    """Makes batches of rows on a canvas of `data.canvas_height` × `data.canvas_width` pixels; safe for many threads.

    The image tensor is `(B, 3, H, W)` in channels-last memory: on `device` if the GPU decodes, else on the CPU, pinned
    if there is a CUDA device. An image with faulty masks has their union as shirt and no trousers; one without masks
    counts as faulty, with an empty union.
    """

    def __init__(
        self, dataset: DataSet, labels: Labels, *, data: DataConfig, with_masks: bool, device: torch.device
    ) -> None:
        """Decode as `data.decoder` says.

        Raises:
            UsageError: nvJPEG is demanded without a CUDA device.
        """
        self._dataset, self._labels, self._with_masks, self._device = dataset, labels, with_masks, device
        self._height, self._width = data.canvas_height, data.canvas_width
        if data.decoder == "nvjpeg" and device.type != "cuda":
            raise UsageError("data.decoder is 'nvjpeg', but the worker has no CUDA device: set it to auto or cpu")
        self._on_device = device.type == "cuda" and data.decoder != "cpu"
        self._buffers = BufferPool(data.decode_threads + data.prefetch_batches + 2)

    def __call__(self, rows: Rows) -> Batch:
        """Read and decode some rows.

        Raises:
            DataError: an image or shard cannot be read.
            StorageError: the store stayed away.
        """
        encoded = self._dataset.read_rows(rows, masks=self._with_masks)
        index, labels = self._dataset.index, self._labels
        size_B2 = np.stack([index.height[rows], index.width[rows]], axis=1).astype(np.int64)
        shirt_B1HW, trousers_B1HW, mask_faulty_B = self._masks(rows, encoded) if self._with_masks else (None,) * 3
        return Batch(
            image_BCHW=self._images(rows, encoded),
            identity_B=_tensor(labels.identity[rows]),
            clothes_B=_tensor(labels.clothes[rows]),
            camera_B=_tensor(labels.camera[rows]),
            gender_B=_tensor(labels.gender[rows]),
            pose_B=_tensor(labels.pose[rows]),
            original_size_B2=_tensor(size_B2),
            row_B=_tensor(rows.astype(np.int64)),
            shirt_B1HW=shirt_B1HW,
            trousers_B1HW=trousers_B1HW,
            mask_faulty_B=mask_faulty_B,
        )

    def _images(self, rows: Rows, encoded: Sequence[EncodedImage]) -> torch.Tensor:
        if self._on_device:
            files = [(image.image, image) for image in encoded]
            return decode_batch(files, self._height, self._width, self._device)
        image_BHWC = self._buffers.take((len(encoded), self._height, self._width, 3))
        index = self._dataset.index
        has_the_size = (index.height[rows] == self._height) & (index.width[rows] == self._width)
        plain_B = (index.plain_jpeg[rows] & has_the_size).tolist()
        for canvas_HWC, image, is_plain in zip(image_BHWC.numpy(), encoded, plain_B, strict=True):
            (decode_plain_onto if is_plain else decode_onto)(canvas_HWC, image.image, image)
        return image_BHWC.permute(0, 3, 1, 2)

    def _masks(self, rows: Rows, encoded: Sequence[EncodedImage]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        masks_2BHW = np.zeros((2, len(rows), self._height, self._width), dtype=np.bool_)
        known_faulty_B = self._dataset.index.mask_faulty[rows].tolist()
        faulty_B = np.array(
            [
                _decode_masks(masks_2BHW[:, place], image, known)
                for place, (image, known) in enumerate(zip(encoded, known_faulty_B, strict=True))
            ]
        )
        return _tensor(masks_2BHW[0, :, None]), _tensor(masks_2BHW[1, :, None]), _tensor(faulty_B)


def _decode_masks(slot_2HW: NDArray[np.bool_], encoded: EncodedImage, known_faulty: bool) -> bool:
    """Decode shirt and trousers into the slot, or their union as shirt; tell whether it is the union."""
    shirt, trousers, clothes = encoded.shirt_mask, encoded.trousers_mask, encoded.clothes_mask
    if not known_faulty and shirt is not None and trousers is not None:
        decode_mask_onto(slot_2HW[0], shirt, encoded)
        decode_mask_onto(slot_2HW[1], trousers, encoded)
        return False
    union_HW = slot_2HW[0]
    part_HW = np.empty_like(union_HW)
    for mask in (clothes,) if clothes is not None else (shirt, trousers):
        if mask is not None:
            decode_mask_onto(part_HW, mask, encoded)
            union_HW |= part_HW
    return True


def _tensor(array: NDArray[np.generic]) -> torch.Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory() if torch.cuda.is_available() else tensor
