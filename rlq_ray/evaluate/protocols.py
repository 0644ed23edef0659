"""Which gallery images count for a query: the labels of images and the rules of the public protocols.

Knows integers only: neither features nor files. A protocol decides about gallery images of the query's own identity;
images of other identities, distractors among them, always count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rlq_ray.errors import DataError, UsageError

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

UNKNOWN = -1
"""A label that an image lacks; a gallery image of unknown identity is a distractor."""


@dataclass(frozen=True)
class Labels:
    """Identity, camera and clothes of N images as codes that compare across query and gallery; −1 is unknown.

    Raises:
        DataError: an array is not one-dimensional, not of integers, or not as long as the others.
    """

    identity_N: IntArray
    camera_N: IntArray
    clothes_N: IntArray

    def __post_init__(self) -> None:
        for name in ("identity_N", "camera_N", "clothes_N"):
            values = np.asarray(getattr(self, name))
            if values.ndim != 1 or (values.size and values.dtype.kind not in "iu"):
                raise DataError(
                    f"labels {name} are {values.dtype} of shape {values.shape}: give one integer per image "
                    "(shared_labels turns names into integers)"
                )
            object.__setattr__(self, name, values.astype(np.int64))
        sizes = (len(self.identity_N), len(self.camera_N), len(self.clothes_N))
        if len(set(sizes)) > 1:
            raise DataError(f"labels have {sizes} identities, cameras and clothes: give one of each per image")

    def __len__(self) -> int:
        return len(self.identity_N)

    def take(self, rows: npt.NDArray[np.int64] | slice) -> Labels:
        """Keep the given images, in the given order."""
        return Labels(self.identity_N[rows], self.camera_N[rows], self.clothes_N[rows])


def shared_codes(query: npt.ArrayLike, gallery: npt.ArrayLike) -> tuple[IntArray, IntArray]:
    """Number the names of query and gallery together; negative integers and empty names become −1, unknown.

    Raises:
        DataError: the two are of different kinds, or neither integers nor text.
    """
    query, gallery = np.asarray(query), np.asarray(gallery)
    kinds = {
        "text" if a.dtype.kind in "US" else "integers" if a.dtype.kind in "iu" else str(a.dtype)
        for a in (query, gallery)
    }
    if kinds not in ({"text"}, {"integers"}):
        raise DataError(
            f"labels of query and gallery are {' and '.join(sorted(kinds))}: make both integers or both text"
        )
    joined = np.concatenate([query.ravel(), gallery.ravel()])
    _, codes = np.unique(joined, return_inverse=True)
    unknown = joined == joined.dtype.type() if kinds == {"text"} else joined < 0
    codes = np.where(unknown, UNKNOWN, codes.reshape(-1)).astype(np.int64)
    return codes[: query.size], codes[query.size :]


def shared_labels(
    query: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike],
    gallery: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike],
) -> tuple[Labels, Labels]:
    """Turn (identities, cameras, clothes) of query and gallery, names or integers, into labels that compare."""
    coded = [shared_codes(q, g) for q, g in zip(query, gallery, strict=True)]
    return Labels(*(q for q, _ in coded)), Labels(*(g for _, g in coded))


@dataclass(frozen=True)
class GalleryProtocol:
    """A rule for gallery images of the query's own identity.

    `keeps(same_camera, same_clothes)` says, elementwise, which of them stay in the ranking; these are the matches.
    `compares` names the labels that the rule reads.
    """

    name: str
    keeps: Callable[[BoolArray, BoolArray], BoolArray]
    compares: tuple[str, ...]

    def matches(self, query: Labels, row: int, gallery: Labels, own_rows: IntArray) -> BoolArray:
        """Say which gallery images in `own_rows`, all of the identity of query `row`, are matches; the rest is dropped.

        Raises:
            DataError: a label that the rule compares is unknown.
        """
        same = {}
        for label in ("camera", "clothes"):
            q, g = getattr(query, f"{label}_N")[row], getattr(gallery, f"{label}_N")[own_rows]
            if label in self.compares and own_rows.size and (q < 0 or (g < 0).any()):
                where = f"query image {row}" if q < 0 else f"gallery image {own_rows[g < 0][0]}"
                raise DataError(
                    f"protocol '{self.name}' compares the {label} label, which {where} lacks: "
                    "give it, or choose a protocol that does without"
                )
            same[label] = g == q
        return self.keeps(same["camera"], same["clothes"])

    def valid(self, query: Labels, gallery: Labels) -> BoolArray:
        """Give the whole mask `(Q, G)` of gallery images that stay in each query's ranking."""
        valid_QG = np.ones((len(query), len(gallery)), dtype=bool)
        for row, identity in enumerate(query.identity_N):
            own_rows = np.flatnonzero(gallery.identity_N == identity)
            valid_QG[row, own_rows] = self.matches(query, row, gallery, own_rows)
        return valid_QG


def _another_camera(same_camera: BoolArray, same_clothes: BoolArray) -> BoolArray:  # noqa: ARG001
    return ~same_camera


def _another_camera_other_clothes(same_camera: BoolArray, same_clothes: BoolArray) -> BoolArray:
    return ~same_camera & ~same_clothes


def _another_camera_same_clothes(same_camera: BoolArray, same_clothes: BoolArray) -> BoolArray:
    return ~same_camera & same_clothes


_PROTOCOLS = {
    p.name: p
    for p in (
        GalleryProtocol("general", _another_camera, ("camera",)),
        GalleryProtocol("cc", _another_camera_other_clothes, ("camera", "clothes")),
        GalleryProtocol("sc", _another_camera_same_clothes, ("camera", "clothes")),
    )
}

PROTOCOLS = tuple(_PROTOCOLS)
"""Names: `general`; `cc`, clothes-changing; `sc`, same clothes (LTCC's definitions)."""


def protocol_named(protocol: str | GalleryProtocol) -> GalleryProtocol:
    """Find a protocol by name; a protocol object is returned as it is.

    Raises:
        UsageError: no protocol has that name.
    """
    if isinstance(protocol, GalleryProtocol):
        return protocol
    if protocol not in _PROTOCOLS:
        raise UsageError(f"unknown protocol '{protocol}': choose one of {', '.join(PROTOCOLS)}")
    return _PROTOCOLS[protocol]
