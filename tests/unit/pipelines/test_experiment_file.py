"""An experiment is read whole, or refused in one line; every shipped one makes sound configurations."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.experiment_file import EXPERIMENTS, read_experiment_file
from rlq_ray.config.load import flatten, to_dict
from rlq_ray.errors import UsageError

SHIPPED = sorted(path.stem for path in EXPERIMENTS.glob("*.toml"))
SOURCES = ["data.target=t", "data.external=e", "teacher=runs/x", "model.weights=random"]
SMALL = """
name = "mine"
title = "Mine"
[settings.train]
epochs = 7
[[rows]]
recipe = "base"
label = "base"
[[rows]]
recipe = "base"
name = "longer"
label = "longer"
[rows.settings.train]
epochs = 9
"""


def write(folder: Path, text: str) -> str:
    (folder / "mine.toml").write_text(text)
    return str(folder / "mine.toml")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_row_of_a_shipped_experiment_can_be_trained(name: str) -> None:
    file = read_experiment_file(name)
    assert (EXPERIMENTS / f"{name}.toml").read_text().splitlines()[1] == f"#   rlq experiment {name}"
    configs = [file.config(row, SOURCES) for row in file.rows]
    assert len({config.name for config in configs}) == len(configs)
    shared = [(c.data, c.batch, c.optimizer, c.evaluate, c.workers, c.model.narrow_width) for c in configs]
    assert all(own == shared[0] for own in shared), "rows differ in what they are named for alone"
    teacher = file.teacher_config("e", SOURCES)
    assert teacher.data.target.endswith("/e")
    assert teacher.schedule.tad_steps == 0
    assert teacher.seed == file.teacher_seed


def test_the_people_experiment_has_the_rows_and_controls_that_a_reader_asks_for() -> None:
    file = read_experiment_file("people")
    assert file.preset == "default"
    assert len(file.seeds) >= 3
    wanted = {"base", "base_lq", "base_from_teacher", "joint", "tad_clean", "tad", "cap", "rlq"}
    assert wanted <= {row.key for row in file.rows}
    assert {("base", "rlq"), ("tad_clean", "tad"), ("base", "joint")} <= {
        (comparison.before, comparison.after) for comparison in file.comparisons
    }


def test_settings_of_a_row_win_over_those_of_all_rows_and_overrides_over_both(tmp_path: Path) -> None:
    file = read_experiment_file(write(tmp_path, SMALL))
    epochs = [file.config(row, SOURCES).train.epochs for row in file.rows]
    assert epochs == [7, 9]
    assert file.config(file.row("longer"), [*SOURCES, "train.epochs=2"]).train.epochs == 2
    flat = [flatten(to_dict(file.config(row, SOURCES))) for row in file.rows]
    assert {key for key in flat[0] if flat[0][key] != flat[1][key]} == {"name", "train.epochs"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SMALL.replace('name = "longer"\n', ""), ["two rows are called 'base'"]),
        (SMALL + '[[comparisons]]\nbefore = "base"\nafter = "nobody"\nquestion = "?"\n', ["'nobody'", "base, longer"]),
        (SMALL.replace('title = "Mine"', 'titel = "Mine"'), ["title"]),
        ('qualities = ["blurry"]\n' + SMALL, ["qualities"]),
        ('qualities = ["hq", "motion"]\n' + SMALL, ["qualities lack 'lq'"]),
        (SMALL.replace('name = "longer"', 'name = "./longer"'), ["'./longer'", "letters, digits"]),
        ("name = = 1", ["not TOML"]),
    ],
)
def test_refuses_in_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        read_experiment_file(write(tmp_path, text))
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_an_experiment_that_extends_another_has_its_settings_and_its_own_rows(tmp_path: Path) -> None:
    write(tmp_path, SMALL)
    (tmp_path / "more.toml").write_text(
        'extends = "mine.toml"\nname = "more"\n[settings.train]\nsteps_per_epoch = 3\n'
        '[[rows]]\nrecipe = "cap"\nlabel = "cap"\n'
    )
    more = read_experiment_file(str(tmp_path / "more.toml"))
    assert [row.key for row in more.rows] == ["cap"]
    train = more.config(more.rows[0], SOURCES).train
    assert (train.epochs, train.steps_per_epoch) == (7, 3)
    (tmp_path / "mine.toml").write_text('extends = "more.toml"')
    with pytest.raises(UsageError, match="extends itself"):
        read_experiment_file(str(tmp_path / "more.toml"))


def test_refuses_names_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"there is no experiment 'nowhere': give the path .* people, people_parts, tiny"
    ):
        read_experiment_file("nowhere")
    with pytest.raises(UsageError, match="there is no row 'x': choose among base, longer"):
        read_experiment_file(write(tmp_path, SMALL)).row("x")
    taught = read_experiment_file(write(tmp_path, 'teacher = "rlq"\n' + SMALL))
    with pytest.raises(UsageError, match="the teacher's recipe 'rlq' has TAD steps: take a base model"):
        taught.teacher_config("e", SOURCES)
    unknown = SMALL.replace('recipe = "base"\nlabel', 'recipe = "bass"\nlabel')
    file = read_experiment_file(write(tmp_path, unknown))
    with pytest.raises(UsageError, match="there is no recipe 'bass'"):
        file.config(file.rows[0], SOURCES)
