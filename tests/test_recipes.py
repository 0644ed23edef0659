"""Every shipped recipe loads, survives the way to plain values and back, and builds its network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipelines.recipe import RECIPES
from rlq_ray.config.load import build_config, flatten, load_recipe, to_dict
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.errors import UsageError
from rlq_ray.models import ReIDNetwork
from rlq_ray.types import ClassSpace

NAMES = sorted(path.stem for path in RECIPES.glob("*.toml"))
SOURCES = ["data.target=shards/target", "data.external=shards/external", "teacher=runs/teacher", "model.weights=random"]
CLASSES = ClassSpace(identities=("0", "1"), clothes=("0_1", "1_1"), identity_of_clothes=(0, 1), pose_clusters=15)


def read(name: str) -> ExperimentConfig:
    return load_recipe(RECIPES / f"{name}.toml", SOURCES)


def test_there_are_recipes_for_the_demo_and_the_published_method() -> None:
    assert {
        "demo_teacher",
        "demo_base",
        "demo_rlq",
        "tiny_base",
        "tiny_rlq",
        "cal",
        "base",
        "cap",
        "rlq",
        "rlq_eva02",
    } <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_loads_builds_and_survives(name: str) -> None:
    config = read(name)
    assert build_config(to_dict(config)) == config
    with torch.device("meta"):  # every layer is made, but no weight is drawn
        network = ReIDNetwork(config.model, CLASSES)
    assert network.has_pose == config.model.pose_branch


@pytest.mark.parametrize("name", NAMES)
def test_opens_with_what_it_is_and_how_it_is_run(name: str) -> None:
    head = (RECIPES / f"{name}.toml").read_text().splitlines()[:6]
    assert head[0].startswith("# ")
    assert name in {"tiny_base", "tiny_rlq"} or any("rlq train" in line for line in head)


ABLATION = {
    "base_gender": ("base", {"model.gender_head": True}),
    "base_pose": ("base", {"model.pose_branch": True}),
    "base_lq": ("base", {"degrade.target_probability": 0.5}),
    "base_from_teacher": ("base", {"start_from": "teacher"}),
    "base_no_recolouring": ("base", {"augment.recolour": False}),
    "cap": ("base", {"model.gender_head": True, "model.pose_branch": True}),
    "joint": ("base", {"schedule.tad_steps": 1, "schedule.external": "joint"}),
    "tad": ("base", {"schedule.tad_steps": 1}),
    "tad_clean": ("tad", {"degrade.distil_degraded": False}),
    "tad_no_mse": ("tad", {"loss.weights.feature_hq": 0.0, "loss.weights.feature_lq": 0.0}),
    "tad_no_teacher": (
        "tad",
        {"loss.weights.feature_hq": 0.0, "loss.weights.feature_lq": 0.0, "loss.weights.feature_self": 1.0},
    ),
    "rlq": ("cap", {"schedule.tad_steps": 1}),
    "rlq_1_1": ("rlq", {"schedule.granularity": "step"}),
    "rlq_1_2": ("rlq_1_1", {"schedule.tad_steps": 2}),
    "rlq_1_4": ("rlq_1_1", {"schedule.tad_steps": 4}),
    "rlq_2_1": ("rlq_1_1", {"schedule.cap_steps": 2}),
}


@pytest.mark.parametrize("name", ABLATION)
def test_a_row_of_the_ablation_changes_what_it_is_named_for_and_nothing_else(name: str) -> None:
    other, changes = ABLATION[name]
    ours, theirs = (flatten(to_dict(read(recipe))) for recipe in (name, other))
    assert {key: ours[key] for key in ours if ours[key] != theirs[key] and key != "name"} == changes


def test_a_recipe_that_begins_with_given_weights_asks_for_them() -> None:
    sources = [source for source in SOURCES if not source.startswith("model.weights")]
    with pytest.raises(UsageError, match=r"eva02_base is never downloaded: give the path of timm's state dict"):
        load_recipe(RECIPES / "rlq_eva02.toml", sources)


def test_the_demo_compares_like_with_like() -> None:
    """Base model and RLQ see as many target images in as many steps, and are measured alike."""
    base, rlq = read("demo_base"), read("demo_rlq")
    for section in ("batch", "train", "optimizer", "augment", "degrade", "evaluate", "data"):
        left, right = getattr(base, section), getattr(rlq, section)
        assert left == right, section
    assert rlq.schedule.tad_steps > 0 == base.schedule.tad_steps


def test_shipped_with_the_package() -> None:
    assert Path("pipelines/recipes").name == RECIPES.name
    assert RECIPES.parent.name == "pipelines"
