"""What unit tests of several rooms share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # imported in the fixtures, so that other tests do not wait for torch
    from rlq_ray.config.schema import ExperimentConfig
    from rlq_ray.train.teaching import TaughtSet


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


@pytest.fixture(scope="session")
def teach() -> Callable[[ExperimentConfig, str | Path], TaughtSet]:
    """Put the teacher's features that a configuration asks for into a store, as the cluster would."""
    import torch

    from rlq_ray.storage import locate
    from rlq_ray.train.build import open_data
    from rlq_ray.train.networks import read_teacher
    from rlq_ray.train.teaching import TaughtSet, teach_rows

    def make(config: ExperimentConfig, store: str | Path) -> TaughtSet:
        cpu = torch.device("cpu")
        external = open_data(config.data.external, config.data)
        taught = TaughtSet(config, external.manifest.content_hash, locate(store))
        row_N = external.index.rows_of_split("train")
        for number in range(config.teacher_draws):
            feat_2ND = teach_rows(read_teacher(config, cpu), external, row_N, number, config, cpu)
            taught.write(number, row_N, feat_2ND)
        return taught

    return make
