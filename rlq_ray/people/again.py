"""Render the images of one identity again, for the truth that a data set does not keep.

Knows images by the stems of their files, but reads none.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlq_ray.people.dataset import plan_shots
from rlq_ray.people.identity import Population
from rlq_ray.people.presets import Preset
from rlq_ray.people.render import Frame, render_frame


@dataclass(frozen=True)
class IdentityJob:
    """Whose images `render_identity` renders, as a value that travels to a worker."""

    preset: Preset
    population: Population
    seed: int
    identity: int


def render_identity(job: IdentityJob) -> dict[str, Frame]:
    """Render all images of an identity, by stem; the frames are those that `write_part` wrote.

    Raises:
        ValueError: the population has fewer bodies than `job.identity` asks for.
    """
    shots = plan_shots(job.preset, population=job.population, seed=job.seed, identity=job.identity)
    return {
        shot.stem: render_frame(
            job.preset,
            population=job.population,
            seed=job.seed,
            identity=shot.identity,
            outfit=shot.outfit,
            camera=shot.camera,
            frame=shot.frame,
        )
        for shot in shots
    }
