"""The teacher's features are computed on the cluster once, whoever asks at the same time, and trainings use them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines import teacher_features
from pipelines.places import Places
from pipelines.recipe import RECIPES
from pipelines.teacher_features import make_teacher_features
from pipelines.train import train
from rlq_ray.collectives import World
from rlq_ray.config.load import load_recipe
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.data import TeacherFeatures, missing_draws, read_manifest
from rlq_ray.storage import Location, list_files, locate
from rlq_ray.train.build import build
from rlq_ray.train.checkpoint import CheckpointCard, write_checkpoint
from rlq_ray.train.teaching import TaughtSet

pytestmark = pytest.mark.slow
DRAWS = 3


@pytest.fixture(scope="module")
def config(tiny_people, tmp_path_factory: pytest.TempPathFactory) -> ExperimentConfig:
    """RLQ on two workers, with a teacher that knows nothing."""
    teacher = tmp_path_factory.mktemp("teacher")
    shards = tiny_people.shards
    base = load_recipe(RECIPES / "tiny_base.toml", [f"data.target={shards['external']}", "seed=5"])
    parts = build(base, world=World(), device=torch.device("cpu"))
    write_checkpoint(teacher, CheckpointCard(base, parts.split.classes, "", 0, 0), parts.state.state_dict())
    parts.close()
    sources = [f"data.target={shards['target']}", f"data.external={shards['external']}", f"teacher={teacher}"]
    return load_recipe(RECIPES / "tiny_rlq.toml", [*sources, f"teacher_draws={DRAWS}", "evaluate.bootstrap_samples=0"])


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Draws that the cluster was asked for."""
    asked: list[int] = []
    teach = teacher_features.teach_on_cluster

    def teach_and_count(config: ExperimentConfig, row_N: np.ndarray, draws: Sequence[int]):
        asked.extend(draws)
        return teach(config, row_N, draws)

    monkeypatch.setattr(teacher_features, "teach_on_cluster", teach_and_count)
    return asked


def folder_of(config: ExperimentConfig, places: Places) -> Location:
    return TaughtSet(config, read_manifest(locate(config.data.external)).content_hash, places.store).folder


def test_makers_at_the_same_time_compute_each_draw_once(
    ray_cluster, sqlite_uri, config: ExperimentConfig, computed: list[int], tmp_path: Path
) -> None:
    places = Places(locate(tmp_path), sqlite_uri, None)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda workers: make_teacher_features(config, places, workers=workers), (1, 2)))
    assert computed == list(range(DRAWS))
    folder = folder_of(config, places)
    names = sorted(path.name for path in Path(folder.path).iterdir())
    assert names == [".lock", *(f"draw-{number:05d}.arrow" for number in range(DRAWS))]
    torn = Path(folder.path) / "draw-00001.arrow"
    whole = torn.read_bytes()
    torn.write_bytes(whole[:-20])
    make_teacher_features(config, places)
    assert computed == [0, 1, 2, 1]
    assert torn.read_bytes() == whole, "whoever computes it, on one worker or two"


def test_a_training_on_two_workers_makes_and_uses_them_in_s3(
    ray_cluster, s3_uri, sqlite_uri, config: ExperimentConfig, computed: list[int]
) -> None:
    places = Places(locate(s3_uri), sqlite_uri, None)
    first, second = (train(config, places, name=name) for name in ("first", "second"))
    assert computed == list(range(DRAWS))
    assert first.metrics == second.metrics, "both looked up the same"
    folder = folder_of(config, places)
    assert missing_draws(folder, DRAWS) == []
    assert len(list_files(folder)) == DRAWS
    assert TeacherFeatures(folder, DRAWS).feature_size == 64
