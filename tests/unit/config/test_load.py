from pathlib import Path

import pytest

from rlq_ray.config.load import build_config, fingerprint, flatten, load_recipe, to_dict
from rlq_ray.errors import UsageError
from rlq_ray.storage import locate

BASE = {"data": {"target": "shards"}, "schedule": {"tad_steps": 0}}
SINGLE_BRANCH = ["model.single_branch=true", "model.pose_branch=false", "model.gender_head=false"]


def test_defaults_are_the_published_method() -> None:
    config = build_config(BASE)
    assert (config.model.input_height, config.model.input_width) == (384, 192)
    assert config.optimizer.learning_rate == 3.5e-4
    assert config.optimizer.milestones == (20, 40)
    assert config.loss.clothes_from_epoch == 25


def test_overrides_take_toml_values_and_bare_words() -> None:
    config = build_config(BASE, ["train.epochs=3", "model.weights=random", "degrade.motion_px=[3, 9]", "name=a-b"])
    assert config.train.epochs == 3
    assert config.model.weights == "random"
    assert config.degrade.motion_px == (3, 9)
    assert config.name == "a-b"


def test_survives_the_way_to_plain_values_and_back() -> None:
    config = build_config(BASE, ["evaluate.protocols=['cc']"])
    assert build_config(to_dict(config)) == config
    assert config.data.target == f"file://{Path('shards').absolute()}"
    assert flatten(to_dict(config))["loss.weights.triplet"] == 1.0


def test_fingerprint_ignores_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 1, "b": 3})


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["loss.wieghts.pose=1"], ["loss.wieghts", "did you mean 'weights'"]),
        (["nonsense=1"], ["nonsense", "the top level knows"]),
        (["train.epochs=0"], ["train.epochs", "0", "greater than or equal to 1"]),
        (["train.epochs"], ["train.epochs", "section.key=value"]),
        (["seed.inner=1", "seed.inner.more=2"], ["seed.inner.more", "single value"]),
        (["schedule.tad_steps=1"], ["schedule.tad_steps is 1", "data.external", "schedule.tad_steps=0"]),
        (["schedule.tad_steps=1", "data.external=x"], ["teacher"]),
        (
            ["schedule.tad_steps=1", "data.external=x", "schedule.external=joint"],
            ["schedule.external is 'joint'", "model.pose_branch=false"],
        ),
        (
            ["schedule.tad_steps=1", "data.external=x", "teacher=y"]
            + [f"loss.weights.{term}=0" for term in ("feature_hq", "feature_lq", "agreement_lq")],
            ["all loss.weights of TAD are 0", "feature_self"],
        ),
        (["start_from=teacher"], ["start_from is 'teacher'", "name the teacher's checkpoint"]),
        (["degrade.target_probability=1.5"], ["degrade.target_probability", "1.5"]),
        (["schedule.cap_steps=0"], ["schedule.cap_steps", "0"]),
        (["model.single_branch=true"], ["model.single_branch is true", "set model.pose_branch=false"]),
        (["model.single_branch=true", "model.pose_branch=false"], ["set model.gender_head=false"]),
        (
            [*SINGLE_BRANCH, "schedule.tad_steps=2"],
            ["schedule.tad_steps is 2", "model.single_branch is true", "schedule.tad_steps=0"],
        ),
        (
            [*SINGLE_BRANCH, "loss.weights.identity=0", "loss.weights.triplet=0"],
            ["all loss.weights of CAP are 0", "identity, triplet a weight"],
        ),
        (["workers.count=3"], ["batch.identities is 8", "3 workers", "multiple of 3, or change workers.count"]),
        (["workers.count=4", "workers.least=2"], ["is 8", "3 workers", "multiple of 12, or change workers.least"]),
        (["workers.count=2", "workers.least=4"], ["workers.least is 4, more than workers.count=2"]),
        (["degrade.motion=0.9"], ["sum to 1"]),
        (["degrade.gaussian_kernel_px=[4, 21]"], ["even size 4"]),
        (["degrade.motion_px=[9, 3]"], ["degrade.motion_px", "smaller bound first"]),
        (["loss.weights.feature_hq=-1"], ["loss.weights.feature_hq"]),
        (["optimizer.milestones=[0, 3]"], ["optimizer.milestones", "0"]),
        (
            [
                f"loss.weights.{term}=0"
                for term in ("identity_clothes", "identity", "pose", "gender", "agreement", "disentangle", "triplet")
            ],
            ["all loss.weights of CAP are 0"],
        ),
        (["evaluate.protocols=['sc']"], ["evaluate.select_on", "'cc'"]),
    ],
)
def test_refuses_in_one_line_that_names_the_mend(overrides: list[str], words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        build_config(BASE, overrides)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_teacher_is_asked_for_only_where_a_term_looks_at_it() -> None:
    steps = ["schedule.tad_steps=1", "data.external=x"]
    own = [*steps, "loss.weights.feature_hq=0", "loss.weights.feature_lq=0", "loss.weights.feature_self=1"]
    joint = [*steps, "schedule.external=joint", "model.pose_branch=false"]
    assert not build_config(BASE, own).needs_teacher
    assert not build_config(BASE, joint).needs_teacher
    assert build_config(BASE, [*steps, "teacher=y"]).needs_teacher


def test_a_network_starts_from_its_teacher_or_from_any_checkpoint() -> None:
    assert build_config(BASE, ["teacher=y", "start_from=teacher"]).initial_checkpoint == locate("y").uri
    assert build_config(BASE, ["teacher=y", "start_from=z"]).initial_checkpoint == locate("z").uri
    assert build_config(BASE, ["teacher=y"]).initial_checkpoint is None


def test_refuses_a_recipe_that_is_missing_or_no_toml(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the recipe .*nowhere\.toml"):
        load_recipe(tmp_path / "nowhere.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("seed = = 1\n")
    with pytest.raises(UsageError, match="not TOML"):
        load_recipe(broken)


def test_names_a_missing_setting() -> None:
    with pytest.raises(UsageError, match=r"'data\.target' is missing"):
        build_config({"schedule": {"tad_steps": 0}, "data": {}})


def test_a_recipe_extends_another(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text("[data]\ntarget = 'a'\n[schedule]\ntad_steps = 0\n[train]\nepochs = 3\n")
    (tmp_path / "longer.toml").write_text("extends = 'base.toml'\n[train]\nepochs = 9\nprecision = 'bf16'\n")
    config = load_recipe(tmp_path / "longer.toml")
    assert (config.data.target[-2:], config.train.epochs, config.train.precision) == ("/a", 9, "bf16")
    (tmp_path / "circle.toml").write_text("extends = 'circle.toml'\n")
    with pytest.raises(UsageError, match="extends itself"):
        load_recipe(tmp_path / "circle.toml")


def test_settings_of_before_there_were_fewer_workers_than_wished_stay_as_they_were() -> None:
    """What is made of a configuration, such as the names of an experiment's runs, stays the same, too."""
    assert not {"least", "resize_every_s"} & to_dict(build_config(BASE))["workers"].keys()
    fewer = build_config(BASE, ["workers.count=2", "workers.least=1", "workers.resize_every_s=5"])
    assert build_config(to_dict(fewer)) == fewer
    assert list(fewer.workers.counts) == [1, 2]
