"""An image as a layout found it, and what every layout does with folders. Reads names, never pixels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rlq_ray.errors import DataError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


@dataclass(frozen=True)
class SourceImage:
    """A file and the labels that its name carries.

    `source` is the path relative to the data set's folder, with `/`. `camera` counts from 0. `gender` and `pose` are
    set only by layouts that carry them.
    """

    file: Path
    source: str
    split: str
    identity: str
    clothes: str
    camera: int
    gender: int | None = None
    pose: int | None = None


def data_folder(root: Path, name: str, inside: tuple[str, ...]) -> Path:
    """Find the data set's folder: `root` itself, or `root/name`.

    Raises:
        DataError: neither holds all folders `inside`.
    """
    for folder in (root, root / name):
        if all((folder / part).is_dir() for part in inside):
            return folder
    raise DataError(f"'{root}' has no folders {', '.join(inside)}: name the folder that holds them, or its parent")


def list_images(folder: Path) -> list[Path]:
    """List the image files directly in a folder, sorted by name; other files are passed over."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)


def match_names(
    base: Path, split_of_folder: Mapping[str, str], name: re.Pattern[str], shape: str
) -> Iterator[tuple[Path, str, str, re.Match[str]]]:
    """Give file, source, split and parsed name of every image in the folders; `shape` tells people what `name` wants.

    Raises:
        DataError: a file name, without its suffix, that does not match.
    """
    for folder, split in split_of_folder.items():
        for file in list_images(base / folder):
            match = name.fullmatch(file.stem)
            if match is None:
                raise DataError(
                    f"'{file.name}' in '{file.parent}' is not named {shape}: choose another layout or move it"
                )
            yield file, f"{folder}/{file.name}", split, match
