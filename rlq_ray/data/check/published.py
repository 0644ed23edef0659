"""The sizes that the authors of public data sets published, and how far a data set is from them. Plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rlq_ray.data.manifest import SplitCounts

COLUMNS = ("images", "identities", "clothes", "cameras")

SAME_SET = (0.5, 1.5)
"""Share of the published images, and of the training identities, within which a data set passes for the published one.

An interrupted copy is within; a rendered set in the same layout, or a sample of a few people, is not.
"""


@dataclass(frozen=True)
class PublishedSplit:
    """What a split holds by its authors' account; None where they do not say."""

    images: int
    identities: int | None = None
    clothes: int | None = None
    cameras: int | None = None


@dataclass(frozen=True)
class PublishedSize:
    """A public data set: where its sizes stand, and its splits as the layout of that name reads them."""

    title: str
    source: str
    splits: Mapping[str, PublishedSplit]

    @property
    def images(self) -> int:
        """Images of all splits."""
        return sum(split.images for split in self.splits.values())


PUBLISHED: dict[str, PublishedSize] = {
    "celeb": PublishedSize(
        "Celeb-reID",
        "Huang et al., IEEE TCSVT 2019",
        {
            "train": PublishedSplit(20_208, 632),
            "query": PublishedSplit(2_972, 420),
            "gallery": PublishedSplit(11_006, 420),
        },
    ),
    "deepchange": PublishedSize(
        "DeepChange",
        "Xu & Zhu, ICCV 2023",
        {
            "train": PublishedSplit(75_083, 450),
            "val": PublishedSplit(4_976 + 17_865),
            "query": PublishedSplit(17_527),
            "gallery": PublishedSplit(62_956),
        },
    ),
    "last": PublishedSize(
        "LaST",
        "Shu et al., IEEE TCSVT 2021",
        {
            "train": PublishedSplit(71_248, 5_000),
            "val": PublishedSplit(21_379, 56),
            "query": PublishedSplit(10_176),
            "gallery": PublishedSplit(125_353),
        },
    ),
    "ltcc": PublishedSize(
        "LTCC",
        "Qian et al., ACCV 2020",
        {
            "train": PublishedSplit(9_576, 77, 256, 12),
            "query": PublishedSplit(493, 75),
            "gallery": PublishedSplit(7_050, 75),
        },
    ),
    "market1501": PublishedSize(
        "Market-1501",
        "Zheng et al., ICCV 2015; without the junk images of the gallery",
        {
            "train": PublishedSplit(12_936, 751, cameras=6),
            "query": PublishedSplit(3_368, 750, cameras=6),
            "gallery": PublishedSplit(15_913, 751, cameras=6),
        },
    ),
    "prcc": PublishedSize(
        "PRCC",
        "Yang et al., IEEE TPAMI 2021; gallery A, queries B and C, without the validation images",
        {
            "train": PublishedSplit(17_896, 150, cameras=3),
            "query": PublishedSplit(3_873 + 3_543, 71, cameras=2),
            "gallery": PublishedSplit(3_384, 71, cameras=1),
        },
    ),
    "vc-clothes": PublishedSize(
        "VC-Clothes",
        "Wan et al., CVPR Workshops 2020",
        {
            "train": PublishedSplit(9_449, 256, cameras=4),
            "query": PublishedSplit(1_020, 256),
            "gallery": PublishedSplit(8_591, 256),
        },
    ),
}
"""By the name of the layout."""


def passes_for(counts: Mapping[str, SplitCounts], published: PublishedSize) -> bool:
    """Tell whether a data set is meant to be the published one, and not something else in its layout."""
    least, most = SAME_SET
    images = sum(split.images for split in counts.values())
    same = least * published.images <= images <= most * published.images
    wanted = published.splits["train"].identities
    if "train" in counts and wanted is not None:
        same &= least * wanted <= counts["train"].identities <= most * wanted
    return same


def deviations(counts: Mapping[str, SplitCounts], published: PublishedSize) -> Iterator[tuple[str, int]]:
    """Say where a data set differs from the published one: a line and the absolute difference."""
    for name in dict.fromkeys((*published.splits, *counts)):
        wanted, found = published.splits.get(name), counts.get(name)
        if wanted is None:
            assert found is not None
            yield f"{name}: {found.images:,} images of a split that {published.title} does not have", found.images
            continue
        for column in COLUMNS:
            should = getattr(wanted, column)
            there = getattr(found, column) if found else 0
            if should is not None and there != should:
                what = "missing" if there < should else "too many"
                line = f"{name}: {there:,} {column}, published are {should:,} ({abs(should - there):,} {what})"
                yield line, abs(should - there)
