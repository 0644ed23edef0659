"""What names and side files say of every image, alike for a raw folder and for a data set. Knows no pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlq_ray.data.index import UNKNOWN, Index, Names
from rlq_ray.data.layouts.source import SourceImage
from rlq_ray.data.manifest import SplitCounts
from rlq_ray.data.records import SPLITS

PARTS = ("train", "val", "test")
"""What must not share people or pictures; query and gallery make the test."""

PART_OF_SPLIT = {"train": "train", "val": "val", "query": "test", "gallery": "test"}


@dataclass(frozen=True)
class Catalogue:
    """Columns over all images: labels as in `Index`, `source` as the layout named the file."""

    identity: Names
    clothes: Names
    split: Names
    camera: NDArray[np.int32]
    gender: NDArray[np.int8]
    pose: NDArray[np.int16]
    source: Sequence[str]

    def __len__(self) -> int:
        return len(self.camera)

    def rows_of_part(self, part: str) -> NDArray[np.int64]:
        """List the rows of `train`, `val` or `test`, ascending."""
        belongs = np.array([PART_OF_SPLIT[str(name)] == part for name in self.split.names], dtype=bool)
        return np.flatnonzero(belongs[self.split.codes])

    def rows_of_split(self, split: str) -> NDArray[np.int64]:
        """List the rows of a split, ascending."""
        return np.flatnonzero(self.split.equals(split))

    def counts(self) -> dict[str, SplitCounts]:
        """Count what each split holds; splits without images are left out."""
        counts = {}
        for split in SPLITS:
            rows = self.rows_of_split(split)
            if len(rows):
                counts[split] = SplitCounts(
                    images=len(rows),
                    identities=len(np.unique(self.identity.codes[rows])),
                    clothes=len(np.unique(self.clothes.codes[rows])),
                    cameras=len(np.unique(self.camera[rows])),
                )
        return counts


def catalogue_of_index(index: Index) -> Catalogue:
    """Take the labels of a data set."""
    return Catalogue(
        identity=index.identity,
        clothes=index.clothes,
        split=index.split,
        camera=index.camera,
        gender=index.gender,
        pose=index.pose,
        source=index.source.tolist(),
    )


def catalogue_of_images(images: Sequence[SourceImage]) -> Catalogue:
    """Take the labels that a layout found."""
    return Catalogue(
        identity=_names(image.identity for image in images),
        clothes=_names(image.clothes for image in images),
        split=_names(image.split for image in images),
        camera=np.array([image.camera for image in images], dtype=np.int32),
        gender=np.array([UNKNOWN if image.gender is None else image.gender for image in images], dtype=np.int8),
        pose=np.array([image.pose or 0 for image in images], dtype=np.int16),
        source=[image.source for image in images],
    )


def source_images(catalogue: Catalogue) -> list[SourceImage]:
    """Turn a catalogue back into what side files are joined to; the files are only names."""
    columns = (catalogue.source, catalogue.split.tolist(), catalogue.identity.tolist(), catalogue.clothes.tolist())
    return [
        SourceImage(Path(source), source, split, identity, clothes, int(camera))
        for source, split, identity, clothes, camera in zip(*columns, catalogue.camera, strict=True)
    ]


def _names(texts: Iterable[str]) -> Names:
    names, codes = np.unique(np.array(list(texts), dtype=np.str_), return_inverse=True)
    return Names(codes.astype(np.int32), names)
