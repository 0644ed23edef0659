"""Descriptions of clusters by name: those that are shipped, or a user's file, with settings of the command line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cluster.manifests.description import ClusterDescription
from pipelines.recipe import shipped_or_own
from rlq_ray.config.load import check_settings, read_settings

CLUSTERS = Path(__file__).parent / "clusters"
KIND = "cluster description"


def read_description(name: str | None, overrides: Iterable[str] = ()) -> ClusterDescription:
    """Read a description by its name among those that are shipped, or by its path; without one, take the defaults.

    A file that says `extends = "other.toml"` changes what that one, in the same folder, says.

    Raises:
        UsageError: there is none, it is not TOML, or a setting of it is wrong.
    """
    settings = read_settings(shipped_or_own(name, CLUSTERS, KIND), KIND) if name else {}
    return check_settings(ClusterDescription, settings, overrides, KIND)
