"""Versions of what must be the same on a cluster and on those who use it. Imports none of it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata

COMPARED = ("rlq-ray", "ray", "torch")
"""Objects of these travel between the two sides."""


def versions() -> dict[str, str]:
    """Return the versions here."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in COMPARED}}


def compare(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """Name what differs between two places."""
    return [f"{name} {here[name]} here and {there.get(name)} there" for name in here if here[name] != there.get(name)]
