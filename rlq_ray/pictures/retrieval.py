"""What a model finds: a query, then the gallery images it holds nearest, right and wrong marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from rlq_ray.pictures.style import protocol_name
from rlq_ray.pictures.tiles import ImageArray, Layout, Row, Tile, draw_sheet


@dataclass(frozen=True)
class Retrieval:
    """One query's nearest gallery images, nearest first, under one model and query quality.

    `label` tells the row apart, by one or two lines; `correct` and `captions` go with `results`.
    """

    label: str
    query: ImageArray
    query_caption: str
    results: Sequence[ImageArray]
    correct: Sequence[bool]
    captions: Sequence[str]

    def __post_init__(self) -> None:
        if not len(self.results) == len(self.correct) == len(self.captions):
            raise ValueError(
                f"retrieval '{self.label}' has {len(self.results)} results, {len(self.correct)} flags and "
                f"{len(self.captions)} captions: give one of each per result"
            )


def retrieval_gallery(groups: Sequence[Sequence[Retrieval]], protocol: str, *, subtitle: str = "") -> Image.Image:
    """Show queries at the left and what was found at the right; rows of one group, set off by rules, share a person.

    Raises:
        ValueError: there is no group, or an empty one.
    """
    rows: list[Row] = []
    for group in groups:
        if not group:
            raise ValueError("a group of the retrieval gallery is empty: leave it out")
        for place, found in enumerate(group):
            results = zip(found.results, found.captions, found.correct, strict=True)
            tiles = [Tile(image, caption, right=bool(right)) for image, caption, right in results]
            rows.append(Row([Tile(found.query, found.query_caption), *tiles], found.label, place == 0 and bool(rows)))
    most = max((len(found.results) for group in groups for found in group), default=0)
    ranks = tuple((rank, f"{rank}") for rank in range(1, most + 1))
    return draw_sheet(
        rows,
        Layout(tile_width=88, tile_height=176, wide_gap_before=frozenset({1}), column_labels=((0, "query"), *ranks)),
        title=f"Nearest gallery images, {protocol_name(protocol)} protocol",
        subtitle=subtitle,
        right_means="the same person",
        wrong_means="someone else",
    )
