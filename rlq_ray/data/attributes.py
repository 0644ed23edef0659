"""Side files that are joined to images: gender per identity, masks per image, and the names they are joined by.

Reads side files, never the images themselves. A join that fails says which value, which line and what to do.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from rlq_ray.data.layouts.source import SourceImage
from rlq_ray.errors import DataError

MIN_JOIN_RATE = 0.95
"""Share of the training images that a side file must cover."""

_T = TypeVar("_T")

_IDENTITY = re.compile(r"p?0*(\d+?)(\.0)?")
_MASK_SUFFIXES = {"_shirt": "shirt", "_pant": "trousers", "_clothes": "clothes"}


@dataclass(frozen=True)
class MaskFiles:
    """The mask files of one image; None where there is none."""

    shirt: Path | None
    trousers: Path | None
    clothes: Path | None
    faulty: bool


@dataclass(frozen=True)
class _GenderRow:
    line: int
    identity: str
    group: str | None
    gender: int


@dataclass(frozen=True)
class _FaultyEntry:
    place: str
    names: tuple[str, str]


def side_keys(images: Sequence[SourceImage]) -> Iterator[tuple[str, ...]]:
    """Give for every image the names by which a side file may call it, the most specific first.

    These are the ends of its path without the suffix, each also with `FOLDER_FILE` for `FOLDER/FILE`, as the authors
    write identities before file names. For `test/A/001/rgb7.jpg`: `test/A/001/rgb7`, `test/A/001_rgb7`, `A/001/rgb7`,
    `A/001_rgb7`, `001/rgb7`, `001_rgb7`, `rgb7`. A name that two images share is left out.
    """
    seen: set[str] = set()
    shared: set[str] = set()
    for image in images:
        names = _path_ends(image)
        shared.update(seen.intersection(names))
        seen.update(names)
    del seen  # the names of 200,000 images weigh hundreds of megabytes
    for image in images:
        yield tuple(name for name in _path_ends(image) if name not in shared)


def _path_ends(image: SourceImage) -> tuple[str, ...]:
    parts = PurePosixPath(image.source).with_suffix("").parts
    names: dict[str, None] = {}
    for start in range(len(parts)):
        *folders, name = parts[start:]
        names["/".join((*folders, name))] = None
        if folders:
            names["/".join((*folders[:-1], f"{folders[-1]}_{name}"))] = None
    return tuple(names)


def lookup(keys: Sequence[str], table: Mapping[str, _T]) -> _T | None:
    """Look an image up in a side file by the first of its names that occurs there."""
    return next((table[key] for key in keys if key in table), None)


def join_rate(images: Sequence[SourceImage], found: Sequence[bool]) -> float:
    """Count the share of training images for which a side file has a value (of all images if none is for training)."""
    trained = [ok for image, ok in zip(images, found, strict=True) if image.split == "train"] or list(found)
    return sum(trained) / len(trained)


def require_join(side_file: Path, images: Sequence[SourceImage], found: Sequence[bool], *, partial: bool) -> float:
    """Return the join rate, having refused one that is too low unless `partial`.

    Raises:
        DataError: fewer than 95 % of the training images are in the side file.
    """
    rate = join_rate(images, found)
    if rate < MIN_JOIN_RATE and not partial:
        only_train = any(image.split == "train" for image in images)
        lacking = next(
            image
            for image, ok in zip(images, found, strict=True)
            if not ok and (image.split == "train" or not only_train)
        )
        raise DataError(
            f"{side_file} covers {rate:.1%} of the training images, and lacks '{lacking.source}' (identity "
            f"'{lacking.identity}'): complete it, by names that no two images share, or allow a partial side file"
        )
    return rate


def join_genders(images: Sequence[SourceImage], side_file: Path, *, partial: bool = False) -> list[int | None]:
    """Look up 1 (male), 0 (female) or None for every image in a CSV `Category,ID,Gender`.

    IDs match by value: `3`, `003`, `p0003` and `3.0` are the same. Where categories disagree about an ID, the category
    of the image's split decides.

    Raises:
        DataError: a value that is no gender, an ID that no image has (unless `partial`), or a contradiction.
    """
    rows_of: dict[str, list[_GenderRow]] = defaultdict(list)
    for row in _read_genders(side_file):
        rows_of[_normal_identity(row.identity)].append(row)
    known = {_normal_identity(image.identity) for image in images}
    unknown = [row for key, rows in rows_of.items() if key not in known for row in rows]
    if unknown and not partial:
        raise DataError(
            f"{side_file} line {unknown[0].line}: no image has the identity '{unknown[0].identity}'; "
            "correct the ID, or allow a partial side file"
        )
    exact: dict[str, set[str]] = defaultdict(set)
    for image in images:
        exact[_normal_identity(image.identity)].add(image.identity)
    clash = next((names for names in exact.values() if len(names) > 1), None)
    if clash:
        raise DataError(f"identities {sorted(clash)} differ only in leading zeros: rename one to join genders")
    return [_choose_gender(side_file, image, rows_of.get(_normal_identity(image.identity), [])) for image in images]


def _normal_identity(identity: str) -> str:
    match = _IDENTITY.fullmatch(identity.strip())
    return match[1] if match else identity.strip()


def _group(category: str) -> str | None:
    lowered = category.strip().lower()
    if lowered in ("query", "gallery"):
        return "test"
    return next((group for group in ("train", "val", "test") if lowered.startswith(group)), None)


def _read_genders(side_file: Path) -> list[_GenderRow]:
    with side_file.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        if not {"Category", "ID", "Gender"} <= set(reader.fieldnames or ()):
            raise DataError(f"{side_file} has the columns {reader.fieldnames}: it needs Category,ID,Gender")
        rows = []
        for row in reader:
            if row["Gender"] not in ("0", "1", "0.0", "1.0"):
                raise DataError(
                    f"{side_file} line {reader.line_num}: gender '{row['Gender']}' of '{row['ID']}' is unknown; "
                    "write 1 (male) or 0 (female)"
                )
            rows.append(
                _GenderRow(reader.line_num, row["ID"], _group(row["Category"] or ""), int(float(row["Gender"])))
            )
    return rows


def _choose_gender(side_file: Path, image: SourceImage, rows: list[_GenderRow]) -> int | None:
    if len({row.gender for row in rows}) > 1:
        group = _group(image.split)
        rows = [row for row in rows if row.group == group]
        if len({row.gender for row in rows}) != 1:
            raise DataError(f"{side_file} contradicts itself on identity '{image.identity}': keep one line for it")
    return rows[0].gender if rows else None


def find_masks(images: Sequence[SourceImage], folder: Path) -> list[MaskFiles | None]:
    """Find the masks `{stem}_shirt.png`, `{stem}_pant.png`, `{stem}_clothes.png` of every image; None where none is.

    They may lie in folders, as the images do or by split (`train/`). Headerless CSV files in the folder, of any name
    and number (the authors have one for shirts and one for trousers), list the stems whose shirt and trousers are not
    to be trusted.

    Raises:
        DataError: no such folder, or a faulty stem that neither an image nor a mask has.
    """
    if not folder.is_dir():
        raise DataError(f"the mask folder '{folder}' does not exist: check the path")
    masks: dict[str, dict[str, Path]] = defaultdict(dict)
    for file in sorted(folder.rglob("*.png")):
        suffix = next((suffix for suffix in _MASK_SUFFIXES if file.stem.endswith(suffix)), None)
        if suffix is not None:
            relative = file.relative_to(folder).with_suffix("").as_posix()
            masks[relative.removesuffix(suffix)][_MASK_SUFFIXES[suffix]] = file
    below = Counter(map(_below_split, masks))
    mask_of = {_below_split(mask): mask for mask in masks if below[_below_split(mask)] == 1}
    mask_of |= {mask: mask for mask in masks}
    faulty = _read_faulty(folder)
    known = {*masks, *below}
    found: list[MaskFiles | None] = []
    for keys in side_keys(images):
        known.update(key for key in keys if key in faulty)
        mask = lookup(keys, mask_of)
        if mask is None:
            found.append(None)
            continue
        parts, is_faulty = masks[mask], any(name in faulty for name in (mask, _below_split(mask), *keys))
        found.append(MaskFiles(parts.get("shirt"), parts.get("trousers"), parts.get("clothes"), is_faulty))
    unknown = next((where for where in faulty.values() if known.isdisjoint(where.names)), None)
    if unknown:
        raise DataError(f"{unknown.place}: no image is called '{unknown.names[0]}'; correct or remove it")
    return found


def _below_split(mask: str) -> str:
    """Leave out a first folder that is called as a split is: data sets call their own folders otherwise."""
    first, _, rest = mask.partition("/")
    return rest if rest and _group(first) else mask


def _read_faulty(folder: Path) -> dict[str, _FaultyEntry]:
    faulty: dict[str, _FaultyEntry] = {}
    for side_file in sorted(folder.glob("*.csv")):
        with side_file.open(newline="", encoding="utf-8-sig") as stream:
            for line, row in enumerate(csv.reader(stream), start=1):
                stem = row[0].strip() if row else ""
                if stem:
                    names = (stem, str(PurePosixPath(stem).with_suffix("")))
                    faulty |= dict.fromkeys(names, _FaultyEntry(f"{side_file} line {line}", names))
    return faulty
