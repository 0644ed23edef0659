"""The folder layouts of public data sets, by name: each reads `root` into a list of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rlq_ray.data.layouts import celeb, deepchange, generic, last, ltcc, market1501, prcc, vc_clothes
from rlq_ray.data.layouts.source import SourceImage
from rlq_ray.errors import DataError, UsageError

__all__ = ["LAYOUTS", "SourceImage", "read_layout"]

LAYOUTS: dict[str, Callable[[Path], list[SourceImage]]] = {
    "celeb": celeb.read,
    "deepchange": deepchange.read,
    "generic": generic.read,
    "last": last.read,
    "ltcc": ltcc.read,
    "market1501": market1501.read,
    "prcc": prcc.read,
    "vc-clothes": vc_clothes.read,
}


def read_layout(name: str, root: Path) -> list[SourceImage]:
    """List the images below `root` by the layout's rules.

    Raises:
        UsageError: no layout of that name.
        DataError: the folder is missing, empty or does not follow the layout.
    """
    if name not in LAYOUTS:
        raise UsageError(f"no layout '{name}': choose one of {', '.join(sorted(LAYOUTS))}")
    if not root.exists():
        raise DataError(f"'{root}' does not exist: check the path")
    images = LAYOUTS[name](root)
    if not images:
        raise DataError(f"'{root}' holds no images of layout '{name}': check the path and the layout")
    return images
