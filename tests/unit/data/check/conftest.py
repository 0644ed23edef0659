"""Catalogues made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlq_ray.data.check import Catalogue, catalogue_of_images
from rlq_ray.data.layouts.source import SourceImage

Rows = list[tuple[str, str, str, int]]


@pytest.fixture
def images_of() -> Callable[[Rows], list[SourceImage]]:
    """Images of rows (split, identity, clothes, camera), called `split/number.png`."""

    def make(rows: Rows) -> list[SourceImage]:
        return [
            SourceImage(Path(f"{split}/{number}.png"), f"{split}/{number}.png", split, identity, clothes, camera)
            for number, (split, identity, clothes, camera) in enumerate(rows)
        ]

    return make


@pytest.fixture
def catalogue_of(images_of: Callable[[Rows], list[SourceImage]]) -> Callable[[Rows], Catalogue]:
    """The catalogue of such rows."""
    return lambda rows: catalogue_of_images(images_of(rows))
