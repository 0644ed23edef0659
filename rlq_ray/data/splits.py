"""Pure: which rows train, which validate, which are query or gallery, and what the class numbers mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rlq_ray.data.index import Index
from rlq_ray.data.partition import Rows, places_of_names
from rlq_ray.errors import DataError
from rlq_ray.types import ClassSpace

MIN_VALIDATION_IDENTITIES = 2
EXTERNAL_PREFIX = "external/"
"""Before the names of an external set's classes, where they stand beside the target's."""


@dataclass(frozen=True)
class TrainingSplit:
    """Rows to train on, the classes they form, and rows to choose the best checkpoint on (empty if none are kept)."""

    train_rows: Rows
    classes: ClassSpace
    validation_rows: Rows


def split_training(
    index: Index, *, pose_clusters: int, validation_fraction: float = 0.1, seed: int = 0
) -> TrainingSplit:
    """Keep validation identities out of training and number the rest.

    A split named `val` is the validation. Without one, a share of the training identities is drawn, among those with
    an image in other clothes from another camera; a data set where nobody changes clothes offers those seen by two
    cameras. Leave `seed` alone between trainings that are compared.

    Raises:
        DataError: no training images, or too few identities to keep some.
    """
    train_rows = index.rows_of_split("train")
    if not len(train_rows):
        raise DataError("the data set has no split 'train': nothing to train on")
    validation_rows = index.rows_of_split("val")
    if not len(validation_rows) and validation_fraction > 0:
        kept = _draw_identities(index, train_rows, validation_fraction, seed)
        is_kept = np.isin(index.identity.codes[train_rows], kept)
        train_rows, validation_rows = train_rows[~is_kept], train_rows[is_kept]
    return TrainingSplit(train_rows, class_space(index, train_rows, pose_clusters=pose_clusters), validation_rows)


def class_space(index: Index, rows: Rows, *, pose_clusters: int) -> ClassSpace:
    """Number the identities and clothes of some rows, each in the order of their names.

    Raises:
        DataError: two identities share the name of an outfit.
    """
    identities, identity_of_row = np.unique(index.identity[rows], return_inverse=True)
    clothes, first_row = np.unique(index.clothes[rows], return_index=True)
    pairs = np.unique(np.stack([index.identity[rows], index.clothes[rows]]), axis=1)
    if pairs.shape[1] != len(clothes):
        names, uses = np.unique(pairs[1], return_counts=True)
        raise DataError(
            f"clothes '{names[uses.argmax()]}' belong to several identities: put the identity in their name"
        )
    return ClassSpace(
        identities=tuple(map(str, identities)),
        clothes=tuple(map(str, clothes)),
        identity_of_clothes=tuple(map(int, identity_of_row[first_row])),
        pose_clusters=pose_clusters,
    )


def joined_classes(target: ClassSpace, external: ClassSpace) -> ClassSpace:
    """Append the classes of an external set, whose names get `EXTERNAL_PREFIX`; poses stay the target's."""
    first = len(target.identities)
    return ClassSpace(
        identities=target.identities + tuple(EXTERNAL_PREFIX + name for name in external.identities),
        clothes=target.clothes + tuple(EXTERNAL_PREFIX + name for name in external.clothes),
        identity_of_clothes=target.identity_of_clothes + tuple(first + i for i in external.identity_of_clothes),
        pose_clusters=target.pose_clusters,
    )


def evaluation_rows(
    index: Index,
    split: Literal["test", "validation"],
    *,
    validation_fraction: float = 0.1,
    seed: int = 0,
) -> tuple[Rows, Rows]:
    """List query and gallery rows; in a validation every image is query against all others.

    `validation_fraction` and `seed` must be those of `split_training`.

    Raises:
        DataError: the data set has no such images.
    """
    if split == "test":
        query_rows, gallery_rows = index.rows_of_split("query"), index.rows_of_split("gallery")
        if not len(query_rows) or not len(gallery_rows):
            raise DataError("the data set has no split 'query' or no split 'gallery': evaluate on 'validation'")
        return query_rows, gallery_rows
    training = split_training(index, pose_clusters=0, validation_fraction=validation_fraction, seed=seed)
    if not len(training.validation_rows):
        raise DataError("no validation identities are kept: raise data.validation_fraction above 0")
    return training.validation_rows, training.validation_rows


def _draw_identities(index: Index, train_rows: Rows, fraction: float, seed: int) -> NDArray[np.int32]:
    """Draw the codes of the identities that are set aside."""
    identity, clothes = index.identity.codes[train_rows], index.clothes.codes[train_rows]
    camera = index.camera[train_rows]
    places = places_of_names(identity)
    eligible = [name for name, own in places.items() if _changes(clothes[own], camera[own])]
    if not eligible:
        eligible = [name for name, own in places.items() if len(np.unique(camera[own])) > 1]
    wanted = max(MIN_VALIDATION_IDENTITIES, round(fraction * len(places)))
    if len(eligible) < MIN_VALIDATION_IDENTITIES or len(places) - min(wanted, len(eligible)) < 2:
        raise DataError(
            f"{len(places)} training identities, {len(eligible)} of them with matches across cameras, cannot give "
            f"{wanted} for validation: add identities, or set data.validation_fraction=0"
        )
    order = np.random.default_rng(seed % 2**64).permutation(len(eligible))
    return np.array([eligible[place] for place in sorted(order[:wanted])], dtype=np.int32)


def _changes(clothes: NDArray[np.int32], camera: NDArray[np.int32]) -> bool:
    """Tell whether some image has a counterpart in other clothes from another camera."""
    pairs = set(zip(clothes.tolist(), camera.tolist(), strict=True))
    return any(worn != other and seen != by for worn, seen in pairs for other, by in pairs)
