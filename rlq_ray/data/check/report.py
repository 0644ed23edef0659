"""What a check found, as values: its keys are those of `rlq data check --json`. Knows not how it was found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from rlq_ray.data.manifest import SplitCounts

MAX_EXAMPLES = 100

FindingCode = Literal[
    "published-size",
    "identity-overlap",
    "duplicate-across-splits",
    "near-duplicate-across-splits",
    "duplicate-of-another-identity",
    "unreadable-image",
    "unreadable-mask",
    "changed-shard",
    "side-file",
    "join-rate",
    "no-query-match",
]
"""`published-size`: not the authors' counts. `side-file`: cannot be used at all. `join-rate`: covers too few training
images. `no-query-match`: no query has a match under a protocol that any other camera would do for."""

NoteCode = Literal[
    "published-size",
    "missing-split",
    "query-without-gallery",
    "gallery-without-query",
    "query-without-match",
    "duplicate",
    "one-colour",
    "single-outfit",
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Finding(_Part):
    """Something wrong: one line, how many it concerns, and at most 100 of them by name."""

    code: FindingCode
    message: str
    count: int
    examples: tuple[str, ...] = ()


class Note(_Part):
    """Something to know that is not wrong in itself."""

    code: NoteCode
    message: str
    count: int
    examples: tuple[str, ...] = ()


class Spread(_Part):
    """Least, median and greatest of some numbers."""

    min: float
    median: float
    max: float


class Bin(_Part):
    """Images whose pixels are counted from `first` to `last`, both included."""

    first: int
    last: int
    images: int


class PublishedReport(_Part):
    """The published set that was compared, and the images of each of its splits."""

    name: str
    title: str
    source: str
    images: dict[str, int]


class PartReport(_Part):
    """Per identity of `train`, `val` or `test` (query and gallery together)."""

    identities: int
    images_per_identity: Spread
    clothes_per_identity: Spread
    cameras_per_identity: Spread
    single_outfit_identities: int


class SideFileReport(_Part):
    """Share of the training images, and of all images, that a side file covers; None where it is not known."""

    training: float | None
    all: float | None


class ImagesReport(_Part):
    """What the files hold: counts, spreads in pixels, and histograms."""

    readable: int
    unreadable: int
    formats: dict[str, int]
    masks: int
    unreadable_masks: int
    height: Spread | None
    width: Spread | None
    heights: tuple[Bin, ...]
    widths: tuple[Bin, ...]


class DuplicatesReport(_Part):
    """Images that have a copy: of the same bytes in the same part, of the same bytes or of the same look in another."""

    within_parts: int
    across_parts: int
    near_across_parts: int


class ProtocolReport(_Part):
    """Queries with and without a gallery image that counts as a match."""

    with_match: int
    without_match: int


class Report(_Part):
    """A data set's preflight. `sound` says that there are no findings; notes do not count.

    `data` is its place, `layout` that of the folder, `content_hash` the manifest's (None for a raw folder),
    `published` what the counts were compared with, if anything. `gender` counts images by `male`, `female`,
    `unknown`; `poses` by cluster, `"0"` for no pose.
    """

    data: str
    name: str
    layout: str
    content_hash: str | None
    sound: bool
    findings: tuple[Finding, ...]
    notes: tuple[Note, ...]
    published: PublishedReport | None
    splits: dict[str, SplitCounts]
    parts: dict[str, PartReport]
    queries: dict[str, ProtocolReport]
    side_files: dict[str, SideFileReport]
    duplicates: DuplicatesReport
    images: ImagesReport
    gender: dict[str, int]
    poses: dict[str, int]


def first_of(names: Iterable[str] | Sequence[str]) -> tuple[str, ...]:
    """Keep as many examples as a finding may name."""
    return tuple(list(names)[:MAX_EXAMPLES])
