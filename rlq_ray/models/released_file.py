"""A released file off the disk: tensors and numbers only; a file with code in it is refused. Knows nothing of names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlq_ray.errors import CheckpointError, UsageError

# The authors' `rank1` is a NumPy number, which torch refuses unless told that it is harmless; NumPy 1 had it elsewhere.
_NUMPY_SCALAR: Any = np.float64(0).__reduce__()[0]
_HARMLESS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
    (_NUMPY_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64)),
]


def read_released(path: Path) -> object:
    """Read what `torch.save` wrote, with all tensors on the CPU.

    Raises:
        UsageError: there is no such file.
        CheckpointError: it is damaged, or holds more than tensors, numbers, texts, lists and dicts.
    """
    if not path.is_file():
        raise UsageError(f"there is no file '{path}': give the .pth.tar that the authors released")
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler meets
        refused = re.search(r"GLOBAL (\S+)", str(error))
        if refused:
            raise CheckpointError(
                f"'{path}' holds more than tensors and numbers ({refused[1]}), which could run code: "
                "give the file as the authors released it"
            ) from error
        reason = str(error).partition("\n")[0].rstrip(". ")
        raise CheckpointError(
            f"'{path}' cannot be read as a file of torch ({reason}): download it again, and unpack a .zip first"
        ) from error
