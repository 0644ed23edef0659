"""The manifest: what makes a folder of shards a data set, and what is in it.

It is written last, so a folder without one is no data set. Knows shards by name, never opens them.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from rlq_ray.data.poses import PoseClusters
from rlq_ray.errors import DataError
from rlq_ray.storage import Location, exists, read_json, write_json

FORMAT_VERSION = 2
MANIFEST_NAME = "manifest.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ShardEntry(_Part):
    """A file of the data set; `path` is relative to the data set, `size_bytes` and `sha256` are of the whole file."""

    path: str
    rows: int
    row_groups: int
    size_bytes: int
    sha256: str


class SplitCounts(_Part):
    """How much a split holds."""

    images: int
    identities: int
    clothes: int
    cameras: int


class JoinRates(_Part):
    """Share of the training images that each side file covers; None where there was no such file."""

    gender: float | None = None
    pose: float | None = None
    masks: float | None = None


class Erasure(_Part):
    """That somebody was taken out: when (a date), and how many images; not who."""

    date: str
    images: int


class Manifest(_Part):
    """A data set in one page.

    `licence_accepted` is what the user said to accept. `content_hash` covers everything but `created`, `erasures` and
    itself, which tell when something was done: the same images and side files give the same hash.
    """

    format_version: int = FORMAT_VERSION
    name: str
    layout: str
    licence_accepted: str | None
    splits: dict[str, SplitCounts]
    shards: tuple[ShardEntry, ...]
    index: ShardEntry
    pose: PoseClusters | None
    join_rates: JoinRates
    erasures: tuple[Erasure, ...] = ()
    created: str
    content_hash: str

    @property
    def has_masks(self) -> bool:
        """Whether images may be recoloured."""
        return self.join_rates.masks is not None


def make_manifest(**content: Any) -> Manifest:
    """Build a manifest from everything but its time and hash, which are added."""
    unsigned = Manifest(**content, created=datetime.now(UTC).isoformat(timespec="seconds"), content_hash="")
    return unsigned.model_copy(update={"content_hash": _content_hash(unsigned)})


def _content_hash(manifest: Manifest) -> str:
    content = manifest.model_dump(mode="json", exclude={"created", "erasures", "content_hash"})
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_manifest(place: Location, manifest: Manifest) -> None:
    """Make the folder a data set, at once and whole.

    Raises:
        StorageError: the place cannot be written.
    """
    write_json(place / MANIFEST_NAME, manifest.model_dump(mode="json"))


def read_manifest(place: Location) -> Manifest:
    """Read the manifest of a data set.

    Raises:
        DataError: there is none, it is of another format, or it was changed by hand.
        StorageError: the place cannot be reached.
    """
    if not exists(place / MANIFEST_NAME):
        raise DataError(f"no data set at {place} (no manifest): run `rlq data ingest … --to {place}`")
    content = read_json(place / MANIFEST_NAME)
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise DataError(f"{place} has format {version}, this program reads {FORMAT_VERSION}: ingest it again")
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            f"the manifest of {place} is damaged at {first['loc']} ({first['msg']}): ingest it again"
        ) from error
    if _content_hash(manifest) != manifest.content_hash:
        raise DataError(f"the manifest of {place} was changed: its content hash does not fit; ingest it again")
    return manifest
