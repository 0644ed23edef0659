"""A sweep is read whole, or refused in one line; every shipped one makes sound configurations and a sound recipe."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from pipelines.experiment_file import read_experiment_file
from pipelines.sweep.file import SWEEPS, SweepFile, read_sweep_file
from rlq_ray.config.load import build_config, flatten, load_recipe, to_dict
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.errors import UsageError
from tuning.space import examples, grid, settings_of

SHIPPED = sorted(path.stem for path in SWEEPS.glob("*.toml"))
SOURCES = ["data.target=t", "data.external=e", "teacher=runs/x"]
SMALL = """
name = "mine"
title = "Mine"
recipe = "rlq_1_1"
[settings.train]
epochs = 7
[settings.model]
weights = "random"
[space]
"schedule.tad_steps" = { choice = [1, 2] }
"loss.weights.triplet" = { uniform = [0.5, 1.5], when = { "schedule.tad_steps" = 2 } }
"""


def write(folder: Path, text: str) -> str:
    (folder / "mine.toml").write_text(text)
    return str(folder / "mine.toml")


def plain(config: ExperimentConfig) -> dict[str, Any]:
    return {key: value for key, value in flatten(to_dict(config)).items() if key != "name"}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_sweep_makes_sound_configurations_only(name: str) -> None:
    file = read_sweep_file(name)
    assert file.name == name
    assert any(
        line.startswith(f"#   rlq sweep {name}") for line in (SWEEPS / f"{name}.toml").read_text().split("\n")[1:3]
    )
    file.check(SOURCES[:2] if file.preset is None else [])
    configs = [file.config(values, SOURCES) for values in examples(file.space)]
    searched = {setting for values in examples(file.space) for setting in settings_of(file.space, values)}
    first = plain(configs[0])
    assert all({key for key, value in plain(own).items() if value != first[key]} <= searched for own in configs)
    assert {config.workers.count for config in configs} == {1}, "a training of a sweep has one worker"
    assert file.config({}, SOURCES).train.epochs == file.epochs([])


@pytest.mark.parametrize("name", SHIPPED)
def test_a_sweep_is_written_down_and_read_again_as_it_was(name: str) -> None:
    file = read_sweep_file(name)
    again = SweepFile.model_validate(tomllib.loads(tomli_w.dumps(file.model_dump(mode="json", exclude_none=True))))
    assert again == file
    assert list(again.space) == list(file.space), "whose order counts"
    assert list(itertools.islice(grid(again.space), 50)) == list(itertools.islice(grid(file.space), 50))


@pytest.mark.parametrize("name", ["step-ratio", "loss-weights"])
def test_sweeps_on_people_share_the_teacher_of_the_experiment(name: str) -> None:
    """So that whoever has made the one trains no other."""
    ours, theirs = read_sweep_file(name), read_experiment_file("people")
    assert plain(ours.teacher_config("e", [])) == plain(theirs.teacher_config("e", []))
    assert (ours.preset, ours.data_seed, ours.pose_clusters) == (theirs.preset, theirs.data_seed, theirs.pose_clusters)


def test_every_step_ratio_takes_as_many_steps() -> None:
    file = read_sweep_file("step-ratio")
    assert file.budget.trials == len(list(grid(file.space)))
    for values in grid(file.space):
        config = file.config(values, SOURCES)
        cap, tad, steps = config.schedule.cap_steps, config.schedule.tad_steps, config.train.steps_per_epoch
        assert steps is not None
        assert config.train.epochs * steps * (cap + tad) / cap == pytest.approx(8 * 88, rel=0.03)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("overrides", [[], ["train.epochs=11", "augment.brightness=0.25", "model.weights=random"]])
def test_the_recipe_of_a_configuration_trains_what_it_trained(tmp_path: Path, name: str, overrides: list[str]) -> None:
    file = read_sweep_file(name)
    for number, values in enumerate(examples(file.space)):
        path = tmp_path / f"{number}.toml"
        path.write_text(tomli_w.dumps(file.recipe_of(settings_of(file.space, values), overrides)))
        assert plain(load_recipe(path, SOURCES)) == plain(file.config(values, [*SOURCES, *overrides]))


@pytest.mark.parametrize(
    "override", ["loss.weights={triplet = 3.0}", "train={epochs = 5}", "data.target=other", "seed=4"]
)
def test_overrides_are_in_the_recipe_whether_of_a_setting_or_a_section(tmp_path: Path, override: str) -> None:
    file = read_sweep_file(write(tmp_path, SMALL))
    values = {"schedule.tad_steps": 2}
    recipe = tomllib.loads(tomli_w.dumps(file.recipe_of(settings_of(file.space, values), [override])))
    sources = [source for source in SOURCES if source.partition("=")[0] != override.partition("=")[0]]
    assert plain(build_config(recipe, sources)) == plain(file.config(values, [*SOURCES, override]))


def test_a_value_of_the_space_wins_over_the_settings_and_an_override_over_both(tmp_path: Path) -> None:
    file = read_sweep_file(write(tmp_path, SMALL + '"train.epochs" = { choice = [9, 10] }\n'))
    assert file.config({}, SOURCES).train.epochs == 7
    assert file.config({"train.epochs": 9}, SOURCES).train.epochs == 9
    assert file.config({"train.epochs": 9}, [*SOURCES, "train.epochs=2"]).train.epochs == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SMALL.replace('title = "Mine"', 'titel = "Mine"'), "title"),
        (SMALL.partition("[space]")[0], "space"),
        (SMALL.partition("[space]")[0] + "[space]", "the space is empty"),
        (
            SMALL.replace('"schedule.tad_steps" = 2', '"schedule.tad_steps" = 3'),
            "is 3, which it never is: take one of 1, 2",
        ),
        (SMALL.replace('"schedule.tad_steps" = 2', '"schedule.cap_steps" = 2'), "put schedule.cap_steps before it"),
        ('objectives = ["lq/cc/top3"]\n' + SMALL, "write quality/protocol/metric"),
        ('objectives = ["lq/cc/mAP", "lq/cc/mAP"]\n' + SMALL, "twice"),
        (SMALL + "[seeds]\nvalues = [1, 1]", "seeds.values repeat one of 1, 1"),
        (
            SMALL + '[search]\nkind = "grid"\n[budget]\ntrials = 3',
            "the grid has more configurations than budget.trials",
        ),
        ("name = = 1", "not TOML"),
    ],
)
def test_refuses_a_file_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_sweep_file(write(tmp_path, text))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "overrides", "words"),
    [
        ("", ["schedule.tad_steps=1"], "the space searches schedule.tad_steps, so 'schedule.tad_steps=1' is refused"),
        ("", [" loss.weights.triplet = 2"], "the space searches loss.weights.triplet"),
        ("", ["loss.weights={triplet = 2.0}"], "the space searches loss.weights.triplet"),
        ("", ["schedule={cap_steps = 2}"], "the space searches schedule.tad_steps"),
        ('[space."x.y"]\nchoice = [1]', [], "unknown setting 'x'"),
        ('"train.epoch" = { choice = [1] }', [], "unknown setting 'train.epoch': did you mean 'epochs'?"),
        ('"batch.identities" = { integers = [0, 8] }', [], "batch.identities = 0 is not possible"),
        ('"workers.count" = { choice = [1, 2] }', [], "the space searches workers.count, but all trainings"),
        ("", ["train.epochs=0"], "train.epochs = 0 is not possible"),
        ("", ["evaluate.qualities=['hq']"], "the objective 'lq/cc/mAP' is not measured, as evaluate.qualities has hq"),
        ("", ["evaluate.protocols=['general']", "evaluate.select_on=general"], "as evaluate.protocols has general"),
    ],
)
def test_refuses_what_cannot_be_trained_or_measured(
    tmp_path: Path, more: str, overrides: list[str], words: str
) -> None:
    file = read_sweep_file(write(tmp_path, SMALL + more))
    with pytest.raises(UsageError) as caught:
        file.check(overrides)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_takes_overrides_beside_the_space(tmp_path: Path) -> None:
    read_sweep_file(write(tmp_path, SMALL)).check(["train.epochs=3", "loss.weights.gender=0.5", "schedule.cap_steps=2"])


def test_hq_is_measured_whatever_the_qualities(tmp_path: Path) -> None:
    read_sweep_file(write(tmp_path, 'objectives = ["hq/cc/mAP"]\n' + SMALL)).check(["evaluate.qualities=['lq']"])


def test_refuses_a_sweep_that_is_not_there() -> None:
    with pytest.raises(
        UsageError, match=r"there is no sweep 'nowhere': give the path .* loss-weights, population, smoke"
    ):
        read_sweep_file("nowhere")


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ('"augment.erase_probability" = { uniform = [0.1, 0.5] }', "'augment.erase_probability'"),
        ('"model.input_height" = { choice = [192, 384] }', "'input'"),
    ],
)
def test_a_space_that_changes_what_the_teacher_sees_is_refused_where_that_is_computed_once(
    tmp_path: Path, space: str, words: str
) -> None:
    file = read_sweep_file(write(tmp_path, SMALL + space))
    file.check(SOURCES[:2])
    with pytest.raises(UsageError, match=f"the space changes {words}, and with it what a teacher sees"):
        file.check([*SOURCES[:2], "teacher_draws=2"])


def test_draws_can_be_searched_and_the_most_of_them_are_made(tmp_path: Path) -> None:
    draws = '"teacher_draws" = { choice = [0, 8, 2] }\n"augment.recolour_alpha" = { uniform = [0.5, 0.7] }'
    file = read_sweep_file(write(tmp_path, SMALL + draws))
    file.check(SOURCES[:2])
    assert file.config_with_most_draws(SOURCES).teacher_draws == 8


def test_draws_that_are_turned_off_are_turned_off_in_the_recipe(tmp_path: Path) -> None:
    text = SMALL.replace("[settings.train]", "[settings]\nteacher_draws = 8\n[settings.train]")
    file = read_sweep_file(write(tmp_path, text))
    assert build_config(file.recipe_of({}, ["teacher_draws=0"]), SOURCES).teacher_draws == 0
    assert build_config(file.recipe_of({}, []), SOURCES).teacher_draws == 8
