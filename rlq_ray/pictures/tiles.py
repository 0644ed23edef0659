"""A sheet of small images: rows of captioned, framed tiles under a title. Every picture made of photographs is one.

Images are uint8 RGB arrays `(H, W, 3)` of any size; each is fitted into its tile, never cropped or stretched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from rlq_ray.pictures.style import INK, MUTED, PANEL, PAPER, RIGHT, RULE, WRONG, font

ImageArray = npt.NDArray[np.uint8]

_MARGIN = 28
_GAP = 8
_CAPTION_SIZE = 13
_CAPTION_STEP = 17
_FRAME = 4


@dataclass(frozen=True)
class Tile:
    """One image with its caption below, of one or more lines; `right` frames and marks it, None leaves it plain."""

    image: ImageArray
    caption: str = ""
    right: bool | None = None


@dataclass(frozen=True)
class Row:
    """Tiles side by side (None is an empty place), a label at their left, and whether a rule sets it off from above."""

    tiles: Sequence[Tile | None]
    label: str = ""
    ruled: bool = False


@dataclass(frozen=True)
class Layout:
    """Pixels of one tile's image, where a wider gap precedes a column, and the labels of columns.

    A column label (first column, text) stands at the left of its column.
    """

    tile_width: int = 96
    tile_height: int = 192
    wide_gap_before: frozenset[int] = frozenset()
    column_labels: tuple[tuple[int, str], ...] = ()


def _check(image: ImageArray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image is {image.dtype} of shape {image.shape}: give uint8 RGB of shape (H, W, 3)")


def _fitted(image: ImageArray, width: int, height: int) -> Image.Image:
    _check(image)
    scale = min(width / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)


def _shortened(draw: ImageDraw.ImageDraw, text: str, width: int, size: int = _CAPTION_SIZE) -> str:
    if draw.textlength(text, font=font(size)) <= width:
        return text
    while text and draw.textlength(text + "…", font=font(size)) > width:
        text = text[:-1]
    return text + "…"


def draw_mark(draw: ImageDraw.ImageDraw, x: int, y: int, *, right: bool, radius: int = 11) -> None:
    """Draw a round badge about (x, y): a tick for right, a cross for wrong."""
    colour = RIGHT if right else WRONG
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline=PAPER, width=2)
    arm = radius * 0.42
    if right:
        tick = [(x - arm * 1.1, y + arm * 0.1), (x - arm * 0.2, y + arm), (x + arm * 1.2, y - arm * 0.9)]
        draw.line(tick, fill=PAPER, width=3, joint="curve")
    else:
        draw.line((x - arm, y - arm, x + arm, y + arm), fill=PAPER, width=3)
        draw.line((x - arm, y + arm, x + arm, y - arm), fill=PAPER, width=3)


def _draw_tile(sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, x: int, y: int, layout: Layout) -> None:
    image = _fitted(tile.image, layout.tile_width, layout.tile_height)
    box = (x, y, x + layout.tile_width, y + layout.tile_height)
    draw.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=PANEL)
    sheet.paste(image, (x + (layout.tile_width - image.width) // 2, y + (layout.tile_height - image.height) // 2))
    if tile.right is not None:
        frame = (box[0] - _FRAME, box[1] - _FRAME, box[2] - 1 + _FRAME, box[3] - 1 + _FRAME)
        draw.rectangle(frame, outline=RIGHT if tile.right else WRONG, width=_FRAME)
        draw_mark(draw, box[2] - 10, box[1] + 10, right=tile.right)
    for place, line in enumerate(tile.caption.split("\n") if tile.caption else []):
        line = _shortened(draw, line, layout.tile_width + _GAP)
        top = box[3] + 5 + place * _CAPTION_STEP
        draw.text((x + layout.tile_width // 2, top), line, font=font(_CAPTION_SIZE), fill=MUTED, anchor="ma")


def _column_starts(columns: int, left: int, layout: Layout) -> list[int]:
    starts, x = [], left
    for column in range(columns):
        x += 3 * _GAP if column in layout.wide_gap_before else 0
        starts.append(x)
        x += layout.tile_width + 2 * _GAP
    return [*starts, x]


def _row_heights(rows: Sequence[Row], layout: Layout) -> list[int]:
    heights = []
    for row in rows:
        lines = max((t.caption.count("\n") + 1 for t in row.tiles if t is not None and t.caption), default=0)
        below = 8 + lines * _CAPTION_STEP + 2 * _GAP if lines else _GAP
        heights.append(layout.tile_height + below + (2 * _GAP if row.ruled else 0))
    return heights


def draw_sheet(
    rows: Sequence[Row], layout: Layout, *, title: str, subtitle: str = "", right_means: str = "", wrong_means: str = ""
) -> Image.Image:
    """Draw the sheet; `right_means` and `wrong_means` explain the marks at its foot, if given.

    Raises:
        ValueError: no rows, or an image is not uint8 RGB.
    """
    if not rows:
        raise ValueError("a sheet has no rows: give at least one image")
    ruler = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    label_lines = [line for row in rows for line in row.label.split("\n")]
    label_width = round(max(ruler.textlength(line, font=font(14, bold=True)) for line in label_lines))
    left = _MARGIN + (label_width + 20 if label_width else 0)
    starts = _column_starts(max(len(row.tiles) for row in rows), left, layout)
    head_width = max(ruler.textlength(title, font=font(24, bold=True)), ruler.textlength(subtitle, font=font(15)))
    width = max(starts[-1] - 2 * _GAP + _MARGIN, round(head_width) + 2 * _MARGIN)
    top = _MARGIN + 36 + (26 if subtitle else 4) + (28 if layout.column_labels else 6)
    heights = _row_heights(rows, layout)
    foot = 40 if right_means or wrong_means else 8
    sheet = Image.new("RGB", (width, top + sum(heights) + foot), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN - 6), title, font=font(24, bold=True), fill=INK)
    draw.text((_MARGIN, _MARGIN + 30), subtitle, font=font(15), fill=MUTED)
    for column, text in layout.column_labels:
        draw.text((starts[column], top - 26), text, font=font(14, bold=True), fill=INK)
    y = top
    for row, height in zip(rows, heights, strict=True):
        if row.ruled:
            draw.line((_MARGIN, y, width - _MARGIN, y), fill=RULE, width=2)
            y, height = y + 2 * _GAP, height - 2 * _GAP
        _draw_label(draw, row.label, y + layout.tile_height // 2)
        for x, tile in zip(starts, row.tiles, strict=False):
            if tile is not None:
                _draw_tile(sheet, draw, tile, x, y, layout)
        y += height
    _draw_legend(draw, left, y + 14, right_means, wrong_means)
    return sheet


def _draw_label(draw: ImageDraw.ImageDraw, label: str, middle: int) -> None:
    """Write a row's label; its first line is bold."""
    lines = label.split("\n")
    for place, line in enumerate(lines):
        y = middle + round((place - (len(lines) - 1) / 2) * 19)
        draw.text((_MARGIN, y), line, font=font(14, bold=place == 0), fill=MUTED if place else INK, anchor="lm")


def _draw_legend(draw: ImageDraw.ImageDraw, x: int, y: int, right_means: str, wrong_means: str) -> None:
    for right, text in ((True, right_means), (False, wrong_means)):
        if text:
            draw_mark(draw, x + 11, y, right=right)
            draw.text((x + 30, y), text, font=font(14), fill=INK, anchor="lm")
            x += 30 + round(draw.textlength(text, font=font(14))) + 32
