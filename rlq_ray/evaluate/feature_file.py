"""Features that any model wrote to an `.npz` file, checked and ready to be ranked."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rlq_ray.errors import DataError
from rlq_ray.evaluate.protocols import Labels, shared_labels
from rlq_ray.evaluate.similarity import check_pair

ARRAYS = ("q_feat", "g_feat", "q_pid", "g_pid", "q_cam", "g_cam", "q_clothes", "g_clothes")
"""Features `(Q, D)` and `(G, D)` of floats; identities, cameras and clothes, one integer or text per image."""


@dataclass(frozen=True)
class FeatureFile:
    """Features `(Q, D)`, `(G, D)` and labels of query and gallery."""

    query_feat_QD: npt.NDArray[np.generic]
    gallery_feat_GD: npt.NDArray[np.generic]
    query: Labels
    gallery: Labels


def _load(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    try:
        archive = np.load(path, allow_pickle=False)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {path} ({type(error).__name__}): write it with numpy.savez") from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise DataError(f"{path} holds a single array: write {', '.join(ARRAYS)} with numpy.savez")
    with archive:
        missing = [name for name in ARRAYS if name not in archive.files]
        if missing:
            raise DataError(f"{path} lacks the array {missing[0]}: a feature file holds {', '.join(ARRAYS)}")
        arrays = {}
        for name in ARRAYS:
            try:
                arrays[name] = archive[name]
            except ValueError as error:
                raise DataError(f"{path}: {name} holds Python objects: save it as integers or text") from error
        return arrays


def read_features(path: str | Path) -> FeatureFile:
    """Read and check a feature file.

    Raises:
        DataError: the file cannot be read, an array is missing, or the arrays do not fit each other.
    """
    path = Path(path)
    arrays = _load(path)
    for side in "qg":
        for name in ("pid", "cam", "clothes"):
            labels, images = arrays[f"{side}_{name}"], len(np.atleast_1d(arrays[f"{side}_feat"]))
            if labels.shape != (images,):
                raise DataError(
                    f"{path}: {side}_{name} has shape {labels.shape} but {side}_feat has {images} rows: "
                    "give one label per image"
                )
    query, gallery = shared_labels(
        (arrays["q_pid"], arrays["q_cam"], arrays["q_clothes"]), (arrays["g_pid"], arrays["g_cam"], arrays["g_clothes"])
    )
    check_pair(arrays["q_feat"], arrays["g_feat"], len(query), len(gallery))
    return FeatureFile(arrays["q_feat"], arrays["g_feat"], query, gallery)
