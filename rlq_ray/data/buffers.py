"""Image buffers that are used again once nobody holds them: fresh memory costs a tenth of decoding into it."""

from __future__ import annotations

import threading
import weakref
from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class BufferPool:
    """Hands out uint8 tensors; one whose memory no tensor refers to any more is handed out again."""

    def __init__(self, max_free: int) -> None:
        """Keep up to `max_free` buffers that nobody uses."""
        self._free: deque[NDArray[np.uint8]] = deque(maxlen=max_free)
        self._lock = threading.Lock()

    def take(self, shape: tuple[int, ...]) -> Tensor:
        """Give an uninitialised tensor, pinned if there is a CUDA device."""
        if torch.cuda.is_available():
            return torch.empty(shape, dtype=torch.uint8, pin_memory=True)  # torch itself uses pinned memory again
        with self._lock:
            memory = self._free.popleft() if self._free else None
        if memory is None or memory.size != np.prod(shape):
            memory = np.empty(np.prod(shape), dtype=np.uint8)
        lent = memory.reshape(shape)  # lives as long as any tensor over it
        weakref.finalize(lent, self._free.append, memory).atexit = False
        return torch.from_numpy(lent)
