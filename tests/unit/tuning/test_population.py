"""A population: who takes over from whom, what is changed, and that its course is the same after a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.recipe import RECIPES
from rlq_ray.config.load import load_recipe
from rlq_ray.distributed.reporting import SCORE
from rlq_ray.distributed.trial_task import Evaluated, TrialEnd
from rlq_ray.errors import UsageError
from rlq_ray.storage import locate
from tuning.population import Lineage, check_population_space, next_generation, perturb
from tuning.population_book import PopulationBook
from tuning.record import Ledger, Training, Trial
from tuning.settings import SweepSettings
from tuning.space import Domain, settings_of

SPACE = {
    "schedule.tad_steps": Domain(choice=(1, 2, 4)),
    "optimizer.learning_rate": Domain(log_uniform=(1e-4, 1e-2)),
    "loss.weights.feature_lq": Domain(uniform=(0.5, 2.0)),
    "schedule.cap_steps": Domain(integers=(1, 3)),
}
VALUES = {
    "schedule.tad_steps": 2,
    "optimizer.learning_rate": 1e-3,
    "loss.weights.feature_lq": 1.0,
    "schedule.cap_steps": 1,
}
EPOCHS, GENERATION = 6, 2


def lineages(members: int = 8) -> dict[int, Lineage]:
    found = {}
    for member in range(members):
        values = {**VALUES, "loss.weights.feature_lq": 0.5 + member / 10}
        found[member] = Lineage(values, (), values)
    return found


def generation(scores: dict[int, float], share: float = 0.25) -> dict[int, tuple[int, Lineage]]:
    return next_generation(lineages(), scores, SPACE, from_epoch=2, exploit_share=share, seed=0)


def test_the_worst_take_over_the_state_of_the_best_and_change_its_settings() -> None:
    chosen = generation({member: member / 10 for member in range(8)})
    assert {member: source for member, (source, _) in chosen.items() if member not in (0, 1)} == {
        member: member for member in range(2, 8)
    }
    for member in (0, 1):
        source, lineage = chosen[member]
        assert source in (6, 7)
        assert lineage.root == lineages()[source].values, "it replays the whole line of the other one"
        assert lineage.stages[0]["from_epoch"] == 2
        assert lineage.values != lineages()[source].values
    assert all(chosen[member][1] == lineages()[member] for member in range(2, 8))
    assert generation({member: member / 10 for member in range(8)}) == chosen


def test_one_that_came_to_nothing_takes_over_from_one_that_did_not() -> None:
    chosen = generation(dict.fromkeys(range(4), 0.5))
    assert all(chosen[member][0] in range(4) for member in range(8))
    assert generation({}) == {member: (member, lineages()[member]) for member in range(8)}, (
        "nobody is left to learn from"
    )


def test_values_change_a_little_or_are_drawn_anew_within_their_ends() -> None:
    generator = np.random.default_rng(0)
    drawn = [perturb(VALUES, SPACE, generator) for _ in range(400)]
    for key, domain in SPACE.items():
        values = {values[key] for values in drawn}
        if domain.choice:
            assert values == set(domain.choice)
        else:
            low, high = domain.log_uniform or domain.uniform or domain.integers
            assert low <= min(values) < VALUES[key] or key == "schedule.cap_steps"
            assert VALUES[key] < max(values) <= high
    assert {type(values["schedule.cap_steps"]) for values in drawn} == {int}
    rates = [values["optimizer.learning_rate"] for values in drawn]
    assert {0.8, 1.25} <= {round(rate / 1e-3, 6) for rate in rates}


def test_a_lineage_is_a_recipe_with_stages() -> None:
    lineage = Lineage(VALUES, (), VALUES)
    changed = lineage.changed(SPACE, {**VALUES, "schedule.tad_steps": 4, "loss.weights.feature_lq": 1.25}, 2)
    assert changed.stages == ({"from_epoch": 2, "tad_steps": 4, "weights": {"feature_lq": 1.25}},)
    assert changed.changed(SPACE, changed.values, 4) is changed, "nothing changes, so no cycle begins anew"
    settings = [f"{key}={value}" for key, value in settings_of(SPACE, VALUES).items()]
    names = ["data.target=t", "data.external=e", "teacher=x", *settings]
    config = load_recipe(
        RECIPES / "rlq_1_1.toml", [*names, "stages=[{from_epoch=2, tad_steps=4, weights={feature_lq=1.25}}]"]
    )
    assert config.stages[0].model_dump(exclude_unset=True) == changed.settings(SPACE)["stages"][0]


def test_what_no_stage_can_change_is_refused() -> None:
    check_population_space(SPACE)
    with pytest.raises(
        UsageError, match=r"a population cannot change model\.backbone while it trains: search schedule"
    ):
        check_population_space({"model.backbone": Domain(choice=("resnet50", "narrow"))})
    with pytest.raises(UsageError, match="count under a condition, which a population cannot"):
        check_population_space({"schedule.tad_steps": Domain(choice=(1,), when={"schedule.cap_steps": 1})})


class Silent:
    """Records nothing."""

    def begin_trial(self, trial: Trial) -> None: ...
    def begin_training(self, trial: Trial, training: Training, changes: Any) -> None: ...
    def end_training(self, trial: Trial, training: Training, standing: Any) -> None: ...


def book(folder: Path) -> PopulationBook:
    settings = SweepSettings.model_validate(
        {
            "search": {"kind": "pbt", "generation_epochs": GENERATION},
            "stopping": {"kind": "none"},
            "seeds": {"values": [0]},
            "budget": {"trials": 4},
        }
    )
    return PopulationBook(
        "pop", space=SPACE, settings=settings, epochs=EPOCHS, ledger=Ledger(locate(folder), "pop"), recorder=Silent()
    )


def train(course: PopulationBook, trial: Trial, training: Training) -> None:
    assert training.part is not None
    score = training.part.values["loss.weights.feature_lq"] / 4 + training.part.until_epoch / 100
    metrics = {SCORE: score, "validation/lq/cc/mAP": score}
    course.note(trial, training, Evaluated(training.part.until_epoch, metrics, 1.0, 10))
    course.end(trial, training, TrialEnd("finished"))


def test_all_members_train_to_the_end_in_parts(tmp_path: Path) -> None:
    course = book(tmp_path)
    while found := course.next():
        train(course, *found)
    assert course.is_done
    for trial in course.trials:
        parts = [training.part for training in trial.trainings]
        assert [(part.from_epoch, part.until_epoch) for part in parts] == [(0, 2), (2, 4), (4, 6)]
        assert parts[0].parent is None
        assert all(part.parent.endswith(f"-from-{part.from_epoch - GENERATION:05d}") for part in parts[1:])
    assert any(trial.trainings[1].part.stages for trial in course.trials)


def test_parts_of_a_generation_wait_for_the_one_before(tmp_path: Path) -> None:
    course = book(tmp_path)
    first = [course.next() for _ in range(4)]
    assert course.next() is None
    assert not course.is_done
    for found in first[:3]:
        train(course, *found)
    assert course.next() is None
    train(course, *first[3])
    assert course.next() is not None


def test_its_course_is_the_same_whenever_the_driver_dies(tmp_path: Path) -> None:
    whole = book(tmp_path / "whole")
    while found := whole.next():
        train(whole, *found)
    for killed_after in range(12):
        folder = tmp_path / str(killed_after)
        course = book(folder)
        for _ in range(killed_after):
            train(course, *course.next())
        course.next()  # and dies while it trains
        course = book(folder)
        while found := course.next():
            train(course, *found)
        assert course.trials == whole.trials
