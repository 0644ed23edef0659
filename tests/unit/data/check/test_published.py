"""The published table, and when a data set is held to it."""

from __future__ import annotations

import pytest

from rlq_ray.data import LAYOUTS
from rlq_ray.data.check.published import PUBLISHED, deviations, passes_for
from rlq_ray.data.manifest import SplitCounts

LTCC = PUBLISHED["ltcc"]


def counts(**images_and_identities: tuple[int, int]) -> dict[str, SplitCounts]:
    return {
        split: SplitCounts(images=images, identities=identities, clothes=256, cameras=12)
        for split, (images, identities) in images_and_identities.items()
    }


WHOLE = counts(train=(9576, 77), query=(493, 75), gallery=(7050, 75))


def test_every_public_layout_has_its_sizes() -> None:
    assert set(PUBLISHED) == set(LAYOUTS) - {"generic"}


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("celeb", 34_186),
        ("deepchange", 178_407),
        ("last", 228_156),
        ("ltcc", 17_119),
        ("market1501", 32_217),
        ("prcc", 33_698 - 5_002),
        ("vc-clothes", 19_060),
    ],
)
def test_splits_add_up_to_the_published_totals(name: str, images: int) -> None:
    assert PUBLISHED[name].images == images


def test_the_whole_set_deviates_in_nothing() -> None:
    assert passes_for(WHOLE, LTCC)
    assert list(deviations(WHOLE, LTCC)) == []


@pytest.mark.parametrize(
    ("found", "passes"),
    [
        (counts(train=(6000, 60), query=(493, 75), gallery=(7050, 75)), True),  # an interrupted copy
        (counts(train=(9576, 77)), True),  # two folders are missing
        (counts(train=(4500, 250), query=(1350, 150), gallery=(1350, 150)), False),  # rendered people
        (counts(train=(9576, 250), query=(493, 75), gallery=(7050, 75)), False),  # as many images of others
        (counts(train=(9576, 20), query=(493, 75), gallery=(7050, 75)), False),
        (counts(train=(16, 8), query=(8, 4), gallery=(8, 4)), False),
    ],
)
def test_what_passes_for_the_published_set(found: dict[str, SplitCounts], passes: bool) -> None:
    assert passes_for(found, LTCC) is passes


def test_deviations_name_split_column_and_difference() -> None:
    found = counts(train=(9570, 78), query=(493, 75), val=(3, 1))
    assert list(deviations(found, LTCC)) == [
        ("train: 9,570 images, published are 9,576 (6 missing)", 6),
        ("train: 78 identities, published are 77 (1 too many)", 1),
        ("gallery: 0 images, published are 7,050 (7,050 missing)", 7050),
        ("gallery: 0 identities, published are 75 (75 missing)", 75),
        ("val: 3 images of a split that LTCC does not have", 3),
    ]
