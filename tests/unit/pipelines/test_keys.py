"""What changes a result changes its key, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipelines.keys import teacher_key, training_key
from pipelines.recipe import read_experiment
from rlq_ray.config.load import to_dict
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.train.checkpoint import CheckpointCard, write_checkpoint
from rlq_ray.types import ClassSpace

CLASSES = ClassSpace(("0", "1"), ("0_1", "1_1"), (0, 1), pose_clusters=5)


def write_teacher(folder: Path, config: ExperimentConfig, value: float) -> str:
    folder.mkdir()
    write_checkpoint(folder, CheckpointCard(config, CLASSES, "", 0, 0), {"network": {"w": torch.tensor([value])}})
    return str(folder)


@pytest.fixture(scope="module")
def sources(tiny_people, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    folder = tmp_path_factory.mktemp("teachers")
    data = [f"data.target={tiny_people.shards['target']}", f"data.external={tiny_people.shards['external']}"]
    config = read_experiment("tiny_base", data)
    teachers = {name: write_teacher(folder / name, config, value) for name, value in (("a", 1.0), ("b", 2.0))}
    (folder / "copy").mkdir()
    for file in (folder / "a").iterdir():
        (folder / "copy" / file.name).write_bytes(file.read_bytes())
    return {name: [*data, f"teacher={folder / name}"] for name in (*teachers, "copy")}


def test_other_addresses_of_the_same_things_change_nothing(sources: dict[str, list[str]]) -> None:
    keys = {training_key(read_experiment("tiny_rlq", sources[name])) for name in ("a", "copy")}
    assert len(keys) == 1


@pytest.mark.parametrize(
    "override",
    [
        "evaluate.bootstrap_samples=7",
        "evaluate.batch_images=3",
        "train.log_every_steps=2",
        "data.read_threads=3",
        "data.cache_mb=600",
        "workers.cpus=2",
    ],
)
def test_what_changes_no_result_changes_no_key(sources: dict[str, list[str]], override: str) -> None:
    plain, other = (read_experiment("tiny_rlq", [*sources["a"], *extra]) for extra in ([], [override]))
    assert training_key(plain) == training_key(other)


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "degrade.target_probability=0.5",
        "degrade.distil_degraded=false",
        "evaluate.qualities=['hq','lq','motion']",
        "evaluate.degrade_seed=8",
        "workers.count=1",
        "start_from=teacher",
        "data.window_mb=all",
        "stages=[{from_epoch=1, tad_steps=2}]",
    ],
)
def test_what_changes_a_result_changes_the_key(sources: dict[str, list[str]], override: str) -> None:
    plain, other = (read_experiment("tiny_rlq", [*sources["a"], *extra]) for extra in ([], [override]))
    assert training_key(plain) != training_key(other)


@pytest.mark.parametrize("override", ["loss.weights.feature_hq=9", "batch.external_images=6"])
def test_settings_of_tad_change_the_key_where_there_is_tad(sources: dict[str, list[str]], override: str) -> None:
    def keys(recipe: str) -> set[str]:
        return {training_key(read_experiment(recipe, [*sources["a"], *extra])) for extra in ([], [override])}

    assert len(keys("tiny_rlq")) == 2
    assert len(keys("tiny_base")) == 1


def test_draws_of_the_teachers_view_change_the_key_where_it_teaches_and_are_written(sources) -> None:
    def keys(recipe: str) -> set[str]:
        return {training_key(read_experiment(recipe, [*sources["a"], f"teacher_draws={n}"])) for n in (0, 1, 2)}

    assert len(keys("tiny_rlq")) == 3
    assert len(keys("tiny_base")) == 1
    assert len({teacher_key(read_experiment("tiny_base", [*sources["a"], f"teacher_draws={n}"])) for n in (0, 1)}) == 1
    assert "teacher_draws" not in to_dict(read_experiment("tiny_rlq", sources["a"])), "older trainings keep their keys"


def test_another_teacher_changes_the_key_where_it_teaches(sources: dict[str, list[str]]) -> None:
    assert len({training_key(read_experiment("tiny_rlq", sources[name])) for name in ("a", "b")}) == 2
    assert len({training_key(read_experiment("tiny_base", sources[name])) for name in ("a", "b")}) == 1


def test_a_teacher_is_another_where_degrading_shapes_it(sources: dict[str, list[str]]) -> None:
    def key(*overrides: str) -> str:
        return teacher_key(read_experiment("tiny_base", [*sources["a"], *overrides]))

    assert key() == key("degrade.motion_px=[5, 9]"), "no image of its training is degraded"
    assert key() != key("degrade.target_probability=0.5")
    half = "degrade.target_probability=0.5"
    assert key(half) != key(half, "degrade.motion_px=[5, 9]")
