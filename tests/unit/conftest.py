"""What unit tests of several rooms share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # imported in the fixture, so that other tests do not wait for torch
    from rlq_ray.config.schema import ExperimentConfig


@pytest.fixture(scope="session")
def configure(tiny_people, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ExperimentConfig]:
    """Make a configuration of a tiny recipe on the tiny people, with a teacher that knows nothing."""
    import torch

    from pipelines.recipe import RECIPES
    from rlq_ray.collectives import World
    from rlq_ray.config.load import load_recipe
    from rlq_ray.train.build import build
    from rlq_ray.train.checkpoint import CheckpointCard, write_checkpoint

    folder: Path = tmp_path_factory.mktemp("teacher")
    config = load_recipe(RECIPES / "tiny_base.toml", [f"data.target={tiny_people.shards['external']}", "seed=5"])
    parts = build(config, world=World(), device=torch.device("cpu"))
    card = CheckpointCard(config, parts.split.classes, parts.target.manifest.content_hash, epoch=0, step=0)
    write_checkpoint(folder, card, parts.state.state_dict())
    parts.close()

    def make(recipe: str, *overrides: str) -> ExperimentConfig:
        sources = [f"data.target={tiny_people.shards['target']}"]
        if recipe == "tiny_rlq":
            sources += [f"data.external={tiny_people.shards['external']}", f"teacher={folder}"]
        return load_recipe(RECIPES / f"{recipe}.toml", [*sources, *overrides])

    return make
