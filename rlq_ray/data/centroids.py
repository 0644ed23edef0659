"""Where fitted pose clusters are kept, to be given to later images: a JSON file, or the manifest of a data set."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from rlq_ray.data.manifest import MANIFEST_NAME, read_manifest
from rlq_ray.data.poses import PoseClusters
from rlq_ray.errors import DataError, UsageError
from rlq_ray.storage import exists, locate, read_bytes, write_json


class _Centroids(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    clusters: tuple[PoseClusters, ...]


def write_centroids(file: str, clusters: Sequence[PoseClusters]) -> None:
    """Write fitted clusters as JSON: `{"clusters": [{"variant": …, "k": …, "centroids": […]}, …]}`."""
    write_json(locate(file), _Centroids(clusters=tuple(clusters)).model_dump(mode="json"))


def read_centroids(uri: str, *, variant: str | None = None, k: int | None = None) -> PoseClusters:
    """Read the clusters of a variant and number out of a JSON file or a data set; neither is needed if there is one.

    Raises:
        DataError: no such clusters there, or none at all.
        UsageError: there are several, and neither variant nor number is given.
        StorageError: the place cannot be read.
    """
    place = locate(uri)
    if exists(place / MANIFEST_NAME):
        pose = read_manifest(place).pose
        found: tuple[PoseClusters, ...] = (pose,) if pose and pose.centroids else ()
    else:
        try:
            found = _Centroids.model_validate_json(read_bytes(place)).clusters
        except ValidationError as error:
            raise DataError(
                f"{place} holds no centroids ({error.errors()[0]['msg']}): give what `rlq poses cluster` wrote, or a "
                "data set"
            ) from error
    if not found:
        raise DataError(f"{place} has no centroids: its clusters were not fitted; name what `rlq poses cluster` wrote")
    chosen = [c for c in found if variant in (None, c.variant) and k in (None, c.k)]
    there = ", ".join(f"{c.variant}_{c.k}" for c in found)
    if not chosen:
        raise DataError(f"{place} has the clusters {there}, not {variant or '*'}_{k or '*'}: choose --variant and --k")
    if len(chosen) > 1:
        raise UsageError(f"{place} has the clusters {there}: choose one by --variant and --k")
    return chosen[0]
