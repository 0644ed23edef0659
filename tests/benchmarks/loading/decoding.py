"""JPEG bytes to pixels: PIL, as most code does it, and the product's decoder as a peer would use it."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import get_worker_info

from loading.job import HEIGHT, WIDTH


def with_pil(encoded: bytes) -> Tensor:
    """Decode to (H, W, 3); the peers' collation stacks these, and `channels_first` turns the stack for free."""
    return torch.from_numpy(np.array(Image.open(io.BytesIO(encoded)).convert("RGB")))


def batch_with_simplejpeg(encoded: Sequence[bytes]) -> Tensor:
    """Decode a batch straight into its buffer (B, H, W, 3).

    In a worker process the buffer is shared memory from the start, as in torch's own collation, which saves a copy.
    """
    shape = (len(encoded), HEIGHT, WIDTH, 3)
    if get_worker_info() is None:
        batch = torch.empty(shape, dtype=torch.uint8)
    else:
        storage = torch.UntypedStorage._new_shared(len(encoded) * HEIGHT * WIDTH * 3)
        batch = torch.empty(0, dtype=torch.uint8).set_(storage).view(shape)
    slots = batch.numpy()
    for slot, image in zip(slots, encoded, strict=True):
        simplejpeg.decode_jpeg(image, buffer=slot)
    return batch


def channels_first(batch_BHWC: Tensor) -> Tensor:
    """View (B, H, W, 3) as (B, 3, H, W)."""
    return batch_BHWC.permute(0, 3, 1, 2)
