"""Names and bytes of a run's artifacts. Knows no store."""

from __future__ import annotations

import io
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image


def checked_place(name: str) -> PurePosixPath:
    """Return where an artifact belongs within its run.

    Raises:
        ValueError: the name is empty, absolute or leads outside.
    """
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or not place.name:
        raise ValueError(f"artifact name '{name}' leaves the run: use a relative name such as pictures/a.png")
    return place


def encode_image(name: str, image: Image.Image) -> bytes:
    """Encode a picture in the format that its name ends with."""
    buffer = io.BytesIO()
    image.save(buffer, format={"jpg": "jpeg"}.get(_suffix(name), _suffix(name)))
    return buffer.getvalue()


def encode_figure(name: str, figure: Figure) -> bytes:
    """Draw a figure in the format that its name ends with."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=_suffix(name), bbox_inches="tight")
    return buffer.getvalue()


def _suffix(name: str) -> str:
    """Return what a name ends with, without its dot.

    Raises:
        ValueError: it ends with nothing.
    """
    suffix = PurePosixPath(name).suffix.removeprefix(".").lower()
    if not suffix:
        raise ValueError(f"picture name '{name}' says no format: end it with .png, .jpg or .svg")
    return suffix
