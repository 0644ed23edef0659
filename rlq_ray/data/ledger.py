"""What a run that was cut off left for the next: which shards of which jobs are whole, and whose turn it is.

It lies beside the shards in `ingest/` until a manifest is written. An entry counts only for the very same job, so
whatever another run left behind is passed over. Knows fingerprints and files, not what is in them.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from rlq_ray.data.manifest import ShardEntry
from rlq_ray.errors import NotFoundError, StorageError
from rlq_ray.storage import Location, RangeReader, delete_file, list_files, read_bytes, read_json, write_json

LEDGER_FOLDER = "ingest"
NUM_READERS = 16
_CLAIM = f"{LEDGER_FOLDER}/claim.json"
_OWN_FILES = re.compile(
    r"shards/part-\d+-[0-9a-f]{16}\.parquet|index-[0-9a-f]{16}\.parquet|ingest/[\w-]+\.json"
    r"|(?:shards/|ingest/)?\.(?:part|index|claim|erasure|manifest)[\w.-]*\.part"
)
"""Everything that may lie at a target besides the manifest, with the parts of files whose writer was killed."""


class LedgerEntry(BaseModel):
    """A whole shard, and the fingerprint of the job that wrote it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    shard: ShardEntry


@dataclass(frozen=True)
class Claim:
    """The right to write a manifest at a target: of whoever began last."""

    to: Location
    token: str

    def require(self) -> None:
        """Find out whether it still holds.

        Raises:
            StorageError: somebody else began to write there, and may count on other shards.
        """
        try:
            found = read_json(self.to / _CLAIM)
        except NotFoundError:
            found = {"by": "somebody who is done"}
        if found.get("token") != self.token:
            raise StorageError(
                f"{self.to} was claimed meanwhile by {found.get('by')}: let one at a time write there, then call again"
            )


def claim_target(to: Location) -> Claim:
    """Claim a target; whoever claimed it before, and lives, will be refused when it comes to the manifest.

    Raises:
        StorageError: the target cannot be written.
    """
    claim = Claim(to, uuid.uuid4().hex)
    write_json(to / _CLAIM, {"token": claim.token, "by": f"process {os.getpid()} on {socket.gethostname()}"})
    return claim


def record_shard(to: Location, number: int, entry: LedgerEntry) -> None:
    """Note that a shard is whole."""
    write_json(_place(to, number), entry.model_dump(mode="json"))


def finished_shards(to: Location, fingerprints: Sequence[str]) -> dict[int, ShardEntry]:
    """Find the jobs, by number, that are done already: same fingerprint, and a shard of the noted size.

    Raises:
        StorageError: the target cannot be read.
    """
    noted = {file.uri for file in list_files(to / LEDGER_FOLDER, ".json")}
    numbers = [number for number in range(len(fingerprints)) if _place(to, number).uri in noted]
    ranges = RangeReader()

    def find(number: int) -> ShardEntry | None:
        try:
            entry = LedgerEntry.model_validate_json(read_bytes(_place(to, number)))
        except (NotFoundError, ValidationError):  # a machine that lost power may leave an empty file
            return None
        return entry.shard if entry.fingerprint == fingerprints[number] and _is_there(to, entry.shard, ranges) else None

    with ThreadPoolExecutor(NUM_READERS) as pool:
        found = zip(numbers, pool.map(find, numbers), strict=True)
        return {number: entry for number, entry in found if entry is not None}


def require_shards(to: Location, shards: Sequence[ShardEntry]) -> None:
    """Make sure that shards are there before a manifest says so.

    Raises:
        StorageError: one is not, because somebody deleted it.
    """
    ranges = RangeReader()
    with ThreadPoolExecutor(NUM_READERS) as pool:
        for entry, is_there in zip(shards, pool.map(lambda entry: _is_there(to, entry, ranges), shards), strict=True):
            if not is_there:
                raise StorageError(
                    f"{to / entry.path} was deleted meanwhile: let one at a time write there, then call again"
                )


def stale_files(to: Location, kept: Sequence[ShardEntry]) -> list[Location]:
    """List what earlier data sets, other runs and killed writers left at a target, and the ledger."""
    paths = {entry.path for entry in kept}
    own = to.uri.rstrip("/") + "/"
    found = []
    for file in list_files(to):
        path = file.uri.removeprefix(own)
        if path not in paths and _OWN_FILES.fullmatch(path):
            found.append(file)
    return found


def delete_files(to: Location, files: Sequence[Location]) -> None:
    """Delete files of a target, and its ledger's folder if that is empty then."""
    with ThreadPoolExecutor(NUM_READERS) as pool:
        list(pool.map(delete_file, files))
    if to.is_local:
        with contextlib.suppress(OSError):
            (Path(to.path) / LEDGER_FOLDER).rmdir()


def _is_there(to: Location, entry: ShardEntry, ranges: RangeReader) -> bool:
    try:
        return ranges.size(to / entry.path) == entry.size_bytes
    except NotFoundError:
        return False


def _place(to: Location, number: int) -> Location:
    return to / f"{LEDGER_FOLDER}/part-{number:05d}.json"
