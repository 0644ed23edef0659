"""What the rows of a released model's classifiers stand for. Pure: knows neither files nor data sets.

The files hold no names. In the authors' code the clothes classifier has a row per outfit, then for every identity a row
per recolouring: 81 of nine colours, 36 of the six that LaST got, none where nothing was recoloured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rlq_ray.errors import CheckpointError
from rlq_ray.models.released import ReleasedModel
from rlq_ray.types import ClassSpace

RECOLOURINGS = (81, 36, 0)
"""Rows that every identity may have for its recolourings."""

Key = Callable[[str], str | int]
_IDENTITY_KEY: Mapping[str, Key] = {
    **dict.fromkeys(("ltcc", "prcc", "last"), int),
    "deepchange": lambda name: int(name.removeprefix("p")),
    "celeb": lambda name: f"{name}_",  # in the order of the file names, where '_' follows the identity
}
_CLOTHES_KEY: Mapping[str, Key] = {
    "deepchange": lambda name: name.replace("_", ""),
    "celeb": lambda name: f"{name}_",
}
"""By layout, what the authors' code sorts by to number the classes; elsewhere it sorts by our names."""


def recolourings_of(rows: int, num_identities: int) -> int:
    """Tell how many of the clothes classifier's rows are recolourings of one identity, in 81, 36, 0.

    Every identity has an outfit at least, so the largest number that leaves it one is taken.

    Raises:
        CheckpointError: there are fewer rows than identities.
    """
    for recolourings in RECOLOURINGS:
        if rows >= (recolourings + 1) * num_identities:
            return recolourings
    raise CheckpointError(
        f"clothes_classifier_state_dict/weight has {rows} rows for {num_identities} identities: expected one for each "
        "of C outfits, and 81 more for each identity if it was recoloured (36 with LaST's colours); download it again"
    )


def number_classes(model: ReleasedModel) -> ClassSpace:
    """Number identities and outfits from '0' on; who wears what is unknown, −1.

    Raises:
        CheckpointError: the clothes classifier has fewer rows than there are identities.
    """
    rows, identities = len(model.clothes_weight_CD), model.num_identities
    num_clothes = rows - recolourings_of(rows, identities) * identities
    return ClassSpace(
        identities=tuple(map(str, range(identities))),
        clothes=tuple(map(str, range(num_clothes))),
        identity_of_clothes=(-1,) * num_clothes,
        pose_clusters=model.pose_clusters,
    )


def name_classes(model: ReleasedModel, trained_on: ClassSpace, *, layout: str, source: str) -> ClassSpace:
    """Take the names from the data set that the model was trained on, in the order of the model's rows.

    `trained_on` are the classes of all its training images. `layout`, such as `ltcc`, tells in which order the authors'
    code numbers the names; `source` is what an error calls the data set.

    Raises:
        CheckpointError: it has another number of identities, or of outfits.
    """
    rows, identities, clothes = len(model.clothes_weight_CD), len(trained_on.identities), len(trained_on.clothes)
    if identities != model.num_identities:
        raise CheckpointError(
            f"{source} has {identities} training identities, the weights {model.num_identities}: "
            "name the data set that they were trained on, or leave --data out"
        )
    if rows not in {clothes + recolourings * identities for recolourings in RECOLOURINGS}:
        raise CheckpointError(
            f"the clothes classifier has {rows} rows, but the {clothes} outfits of {source} make {clothes}, or with "
            f"recolourings {clothes + 81 * identities} (LaST: {clothes + 36 * identities}): "
            "name the data set that it was trained on, or leave --data out"
        )
    by_identity, by_clothes = _IDENTITY_KEY.get(layout, str), _CLOTHES_KEY.get(layout, str)
    names = sorted(trained_on.identities, key=by_identity)
    wearer = {
        outfit: trained_on.identities[identity]
        for outfit, identity in zip(trained_on.clothes, trained_on.identity_of_clothes, strict=True)
    }
    outfits = sorted(trained_on.clothes, key=by_clothes)
    place = {name: number for number, name in enumerate(names)}
    return ClassSpace(
        identities=tuple(names),
        clothes=tuple(outfits),
        identity_of_clothes=tuple(place[wearer[outfit]] for outfit in outfits),
        pose_clusters=model.pose_clusters,
    )
