"""Render people into a folder in the LTCC layout, in parallel Ray tasks."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import cast, get_args

from pipelines.console import counting
from rlq_ray.distributed.tasks import cluster_cpus, map_on_cluster
from rlq_ray.errors import UsageError
from rlq_ray.people import PRESETS, Preset
from rlq_ray.people.dataset import MARKER, PartJob, finish, write_part_of
from rlq_ray.people.identity import Population
from rlq_ray.storage import locate, probe_writable

PARTS_PER_CPU = 4
"""So that a slow part does not leave the other CPUs idle for long."""


def render_people(out: Path, preset_name: str, *, population: Population = "target", seed: int = 0) -> None:
    """Render a data set, or keep it if the same one is there already.

    Raises:
        UsageError: no such preset, or the folder holds something else.
    """
    preset = preset_named(preset_name)
    found = _marker(out)
    if found and (found["preset"], found["population"], found["seed"]) == (_plain(preset), population, seed):
        return
    if out.exists() and any(out.iterdir()):
        if found or not (out / "LTCC_ReID").exists():
            raise UsageError(f"{out} holds another data set or other files: give another --out, or delete it")
        shutil.rmtree(out)  # a rendering of ours that was cut off
    probe_writable(locate(out))
    num_parts = max(1, cluster_cpus()) * PARTS_PER_CPU
    jobs = [PartJob(str(out.absolute()), preset, population, seed, part, num_parts) for part in range(num_parts)]
    with counting(f"rendering the {population} set", num_parts) as advance:
        finish(str(out), preset, map_on_cluster(write_part_of, jobs, advance=advance))


def preset_named(name: str) -> Preset:
    """Look up a preset.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in PRESETS:
        raise UsageError(f"there is no preset '{name}': choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def population_named(name: str) -> Population:
    """Check the name of a population.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in get_args(Population):
        raise UsageError(f"there is no population '{name}': choose one of {', '.join(get_args(Population))}")
    return cast("Population", name)


def _marker(out: Path) -> dict[str, object] | None:
    try:
        marker: dict[str, object] = json.loads((out / MARKER).read_text())
    except (OSError, ValueError):
        return None
    return marker


def _plain(preset: Preset) -> dict[str, object]:
    """Say what the preset says once it has been through JSON."""
    values: dict[str, object] = json.loads(json.dumps(asdict(preset)))
    return values
