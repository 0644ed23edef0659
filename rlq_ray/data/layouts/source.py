"""An image as a layout found it, and what every layout does with folders and file names. Never looks at pixels."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rlq_ray.errors import DataError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})

PASSED_OVER = frozenset({"__MACOSX", "@eaDir"})
"""Folders that archives and disk stations fill with copies of image names; hidden ones (`.…`) are passed over too."""


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


@dataclass(frozen=True)
class ImageFolder:
    """Where images of one split lie, and how they are named.

    `path` is relative to the data set's folder. `pattern` has to match an image's path below it, without the suffix:
    the file's name, after `PID/` where identities have folders. Nothing above is ever matched. `shape` tells people
    what `pattern` wants.
    """

    path: str
    split: str
    pattern: re.Pattern[str]
    shape: str


@dataclass(frozen=True)
class NamedImage:
    """An image whose name was understood; `image["pid"]` is what the group `pid` of its folder's pattern matched."""

    file: Path
    source: str
    split: str
    name: re.Match[str]

    def __getitem__(self, group: str) -> str:
        return self.name[group]

    def labelled(self, *, identity: str, clothes: str, camera: int) -> SourceImage:
        """Say what the name means."""
        return SourceImage(self.file, self.source, self.split, identity, clothes, camera)


def folders_alike(split_of_path: Mapping[str, str], pattern: str, shape: str) -> tuple[ImageFolder, ...]:
    """Describe folders whose images are named in the same way."""
    compiled = re.compile(pattern)
    return tuple(ImageFolder(path, split, compiled, shape) for path, split in split_of_path.items())


def data_folder(root: Path, name: str, inside: Sequence[ImageFolder]) -> Path:
    """Find the data set's folder: `root` itself, or `root/name`.

    Raises:
        DataError: neither holds all folders `inside`.
    """
    for folder in (root, root / name):
        if all((folder / part.path).is_dir() for part in inside):
            return folder
    raise DataError(
        f"'{root}' has no folders {', '.join(part.path for part in inside)}: name the folder that holds them "
        f"(published as {name}), or its parent"
    )


def find_images(base: Path, folders: Sequence[ImageFolder]) -> Iterator[NamedImage]:
    """Give the images of the folders, one folder after the other, each sorted by path.

    Raises:
        DataError: an image that is not named as its folder wants, or a folder that cannot be listed.
    """
    for folder in folders:
        for path in list_images(base / folder.path):
            match = folder.pattern.fullmatch(str(PurePosixPath(path).with_suffix("")))
            if match is None:
                raise DataError(
                    f"'{path}' in '{base / folder.path}' is not named {folder.shape}: rename it, move it away, or "
                    "choose another layout"
                )
            yield NamedImage(base / folder.path / path, f"{folder.path}/{path}", folder.split, match)


def list_images(folder: Path) -> list[str]:
    """List the image files below a folder as paths from there, with `/`, sorted; other and hidden files are left out.

    Raises:
        DataError: a folder cannot be listed.
    """
    found = []
    for parent, inside, files in os.walk(folder, onerror=_refuse_folder, followlinks=True):
        inside[:] = [name for name in inside if not _is_passed_over(name)]
        below = Path(parent).relative_to(folder).as_posix()
        prefix = "" if below == "." else f"{below}/"
        found += [prefix + name for name in files if _is_image(name) and not _is_passed_over(name)]
    return sorted(found)


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name in PASSED_OVER


def _refuse_folder(error: OSError) -> None:
    raise DataError(f"cannot list '{error.filename}' ({error.strerror}): check its permissions") from error
