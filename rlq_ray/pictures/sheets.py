"""Sheets that show a data set and what degradation does to it.

Knows arrays only: neither data sets nor files. Images are uint8 RGB `(H, W, 3)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from rlq_ray.pictures.style import GREEN, ORANGE, PAPER, SKY, VERMILION
from rlq_ray.pictures.tiles import ImageArray, Layout, Row, Tile, draw_sheet

_BONES = (
    *((0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10)),
    *((5, 11), (6, 12), (11, 12), (11, 13), (12, 14), (13, 15), (14, 16)),
)


def contact_sheet(
    images: Sequence[ImageArray],
    captions: Sequence[str],
    groups: Sequence[tuple[str, str]],
    *,
    title: str,
    subtitle: str = "",
    images_per_outfit: int = 2,
) -> Image.Image:
    """Show people in rows and their outfits in columns; `groups` names each image's (identity, outfit).

    Identities and outfits keep their order of appearance. Of each outfit the first `images_per_outfit` are shown.

    Raises:
        ValueError: not as many captions and groups as images.
    """
    if not len(images) == len(captions) == len(groups):
        raise ValueError(
            f"contact sheet has {len(images)} images, {len(captions)} captions and {len(groups)} groups: "
            "give one of each per image"
        )
    people: dict[str, dict[str, list[Tile]]] = {}
    for image, caption, (identity, outfit) in zip(images, captions, groups, strict=True):
        people.setdefault(identity, {}).setdefault(outfit, []).append(Tile(image, caption))
    widest = max((len(outfits) for outfits in people.values()), default=0)
    most = max((len(tiles) for outfits in people.values() for tiles in outfits.values()), default=1)
    step = min(images_per_outfit, most)
    rows = []
    for identity, outfits in people.items():
        tiles: list[Tile | None] = []
        for worn in outfits.values():
            tiles += [*worn[:step], *[None] * (step - len(worn))]
        rows.append(Row(tiles, label=identity))
    layout = Layout(
        wide_gap_before=frozenset(range(step, widest * step, step)),
        column_labels=tuple((place * step, f"outfit {place + 1}") for place in range(widest)),
    )
    return draw_sheet(rows, layout, title=title, subtitle=subtitle)


def annotated(
    image: ImageArray,
    *,
    shirt_HW: npt.NDArray[np.bool_] | None = None,
    trousers_HW: npt.NDArray[np.bool_] | None = None,
    joints_J3: npt.NDArray[np.floating] | None = None,
) -> ImageArray:
    """Lay clothes masks and the skeleton over an image: shirt orange, trousers blue, joints green.

    `joints_J3` are 17 COCO joints (x, y, score) in the image's pixels; those with score 0 are not drawn.
    """
    drawn = image.astype(np.float32)
    for mask_HW, colour in ((shirt_HW, ORANGE), (trousers_HW, SKY)):
        if mask_HW is not None:
            tint = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.float32)
            drawn[mask_HW] = 0.45 * drawn[mask_HW] + 0.55 * tint
    scale = 3  # joints are drawn enlarged and shrunk again, which smooths their edges
    height, width = image.shape[:2]
    canvas = Image.fromarray(drawn.astype(np.uint8)).resize((width * scale, height * scale))
    if joints_J3 is not None:
        pen = ImageDraw.Draw(canvas)
        points = [(scale * float(x), scale * float(y)) for x, y, _ in joints_J3]
        seen = joints_J3[:, 2] > 0
        bold = max(2, round(height * scale / 110))
        for a, b in _BONES:
            if seen[a] and seen[b]:
                pen.line((*points[a], *points[b]), fill=PAPER, width=round(1.5 * bold))
                pen.line((*points[a], *points[b]), fill=GREEN, width=bold)
        for (x, y), visible in zip(points, seen, strict=True):
            if visible:
                pen.ellipse((x - bold, y - bold, x + bold, y + bold), fill=VERMILION, outline=PAPER)
    return np.asarray(canvas.resize((width, height), Image.Resampling.LANCZOS))


def degradation_pairs(
    clean: Sequence[ImageArray],
    degraded: Sequence[ImageArray],
    captions: Sequence[str],
    *,
    title: str,
    subtitle: str = "",
    columns: int = 8,
) -> Image.Image:
    """Show each clean image above its degraded copy, the caption (what was drawn) below.

    Raises:
        ValueError: not as many degraded images and captions as clean ones.
    """
    if not len(clean) == len(degraded) == len(captions):
        raise ValueError(
            f"{len(clean)} clean images, {len(degraded)} degraded and {len(captions)} captions: "
            "give one of each per pair"
        )
    rows = []
    for start in range(0, len(clean), columns):
        part = slice(start, start + columns)
        rows.append(Row([Tile(image) for image in clean[part]], label="clean", ruled=start > 0))
        below = [Tile(image, caption) for image, caption in zip(degraded[part], captions[part], strict=True)]
        rows.append(Row(below, label="degraded"))
    return draw_sheet(rows, Layout(tile_width=112, tile_height=224), title=title, subtitle=subtitle)


def severity_grid(
    image: ImageArray,
    degraded: Mapping[str, Sequence[tuple[str, ImageArray]]],
    *,
    title: str,
    subtitle: str = "",
) -> Image.Image:
    """Show one image at every severity: artefacts in rows, mild to severe; each with a caption, such as `σ 1.2 px`.

    Raises:
        ValueError: no artefact is given.
    """
    rows = [
        Row([Tile(image, "original"), *(Tile(worse, caption) for caption, worse in steps)], label=artefact)
        for artefact, steps in degraded.items()
    ]
    most = max((len(steps) for steps in degraded.values()), default=0)
    labels = ((0, "clean"), (1, "mild"), (most, "severe")) if most > 1 else ((0, "clean"),)
    layout = Layout(tile_width=112, tile_height=224, wide_gap_before=frozenset({1}), column_labels=labels)
    return draw_sheet(rows, layout, title=title, subtitle=subtitle)
