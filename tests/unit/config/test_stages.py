"""Stages change what they name from their epoch on, and contradictions are refused in one line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from rlq_ray.config.load import build_config, flatten, load_recipe, to_dict
from rlq_ray.config.schema import ExperimentConfig, first_clothes_epoch
from rlq_ray.errors import UsageError

CAP_ALONE = {"data": {"target": "shards"}, "schedule": {"tad_steps": 0}, "train": {"epochs": 9}}
WITH_TAD = {
    "data": {"target": "shards", "external": "others"},
    "teacher": "teacher",
    "schedule": {"granularity": "step"},
    "train": {"epochs": 9},
}
NO_TEACHER = {"feature_hq": 0, "feature_lq": 0}


def staged(settings: dict[str, Any], *stages: dict[str, Any], weights: dict[str, float] | None = None):
    return build_config(settings | {"stages": list(stages), "loss": {"weights": weights or {}}})


def test_what_a_stage_does_not_name_stays_as_it_was_before() -> None:
    config = staged(
        WITH_TAD,
        {"from_epoch": 2, "tad_steps": 3, "weights": {"feature_lq": 2.0}},
        {"from_epoch": 5, "cap_steps": 4, "learning_rate": 0.1, "weights": {"triplet": 0}},
        weights={"pose": 7},
    )
    told = [
        (
            (schedule.cap_steps, schedule.tad_steps, schedule.granularity),
            config.staged_optimizer.at(epoch).learning_rate,
            (weights.feature_lq, weights.triplet, weights.pose),
        )
        for epoch in (0, 1.99, 2, 4.99, 5, 8)
        for schedule, weights in [(config.staged_schedule.at(epoch), config.staged_loss.at(epoch).weights)]
    ]
    first = ((1, 1, "step"), 3.5e-4, (1, 1, 7))
    second = ((1, 3, "step"), 3.5e-4, (2, 1, 7))
    third = ((4, 3, "step"), 0.1, (2, 0, 7))
    assert told == [first, first, second, second, third, third]


def test_survives_the_way_to_plain_values_and_back() -> None:
    config = staged(WITH_TAD, {"from_epoch": 2, "weights": {"pose": 0}}, {"from_epoch": 3, "tad_steps": 2})
    plain = to_dict(config)
    assert build_config(plain) == config
    assert plain["stages"] == [{"from_epoch": 2, "weights": {"pose": 0}}, {"from_epoch": 3, "tad_steps": 2}]
    flat = {key: value for key, value in flatten(plain).items() if key.startswith("stages")}
    assert flat == {
        "stages.0.from_epoch": 2,
        "stages.0.weights.pose": 0,
        "stages.1.from_epoch": 3,
        "stages.1.tad_steps": 2,
    }


def test_plain_values_without_stages_are_those_of_the_time_before_there_were_any() -> None:
    assert "stages" not in to_dict(build_config(WITH_TAD))


def test_a_recipe_and_the_command_line_can_have_stages(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        "teacher = 't'\n[data]\ntarget = 'a'\nexternal = 'b'\n"
        "[[stages]]\nfrom_epoch = 4\ntad_steps = 2\n[stages.weights]\nfeature_lq = 2.0\n"
    )
    written = load_recipe(tmp_path / "mine.toml").stages
    assert [(s.from_epoch, s.tad_steps, s.weights) for s in written] == [(4, 2, {"feature_lq": 2.0})]
    given = load_recipe(tmp_path / "mine.toml", ["stages=[{from_epoch=5, learning_rate=1e-3}]"]).stages
    assert [(s.from_epoch, s.learning_rate) for s in given] == [(5, 1e-3)]


@pytest.mark.parametrize(
    ("settings", "stages", "words"),
    [
        (WITH_TAD, [{"from_epoch": 0, "tad_steps": 2}], ["stages.0.from_epoch = 0", "greater than or equal to 1"]),
        (WITH_TAD, [{"tad_steps": 2}], ["'stages.0.from_epoch' is missing", "stages.0.from_epoch=… in the recipe"]),
        (WITH_TAD, [{"from_epoch": 9, "tad_steps": 2}], ["stages.0.from_epoch is 9", "train.epochs is 9"]),
        (
            WITH_TAD,
            [{"from_epoch": 4, "tad_steps": 2}, {"from_epoch": 4, "tad_steps": 3}],
            ["stages.1.from_epoch is 4", "that of the stage before 4"],
        ),
        (WITH_TAD, [{"from_epoch": 4}], ["stages.0 changes nothing from epoch 4 on", "tad_steps, learning_rate"]),
        (WITH_TAD, [{"from_epoch": 4, "weights": {}}], ["stages.0 changes nothing"]),
        (WITH_TAD, [{"from_epoch": 4, "tad_stps": 2}], ["unknown setting 'stages.0.tad_stps'", "mean 'tad_steps'"]),
        (WITH_TAD, [{"from_epoch": 4, "cap_steps": 0}], ["stages.0.cap_steps = 0"]),
        (WITH_TAD, [{"from_epoch": 4, "learning_rate": 0}], ["stages.0.learning_rate = 0"]),
        (
            WITH_TAD,
            [{"from_epoch": 4, "tad_steps": 0}],
            ["stages.0.tad_steps is 0 after schedule.tad_steps=1", "neither begin nor end"],
        ),
        (CAP_ALONE, [{"from_epoch": 4, "tad_steps": 2}], ["stages.0.tad_steps is 2 after schedule.tad_steps=0"]),
        (WITH_TAD, [{"from_epoch": 4, "weights": {"pose": -1}}], ["stages.0.weights.pose = -1"]),
        (WITH_TAD, [{"from_epoch": 4, "weights": {"feature_lo": 1}}], ["'feature_lo'", "it has", "feature_lq"]),
        (CAP_ALONE, [{"from_epoch": 4, "weights": {"feature_lq": 1}}], ["stages.0.weights has 'feature_lq'"]),
        (
            CAP_ALONE | {"model": {"gender_head": False}},
            [{"from_epoch": 4, "weights": {"gender": 1}}],
            ["stages.0.weights has 'gender', which is no loss of this training"],
        ),
        (
            WITH_TAD,
            [{"from_epoch": 4, "weights": NO_TEACHER}, {"from_epoch": 6, "weights": {"agreement_lq": 0}}],
            ["all loss.weights of TAD are 0 from epoch 6 on", "feature_self"],
        ),
        (
            {key: value for key, value in WITH_TAD.items() if key != "teacher"} | {"loss": {"weights": NO_TEACHER}},
            [{"from_epoch": 4, "weights": {"feature_hq": 1}}],
            ["teacher is not set"],
        ),
    ],
)
def test_refuses_in_one_line_that_names_the_mend(settings: dict, stages: list[dict], words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        build_config(settings | {"stages": stages})
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_teacher_is_needed_if_any_stage_looks_at_it() -> None:
    def needs(weights: dict[str, float], stage: dict[str, float]) -> bool:
        return staged(WITH_TAD, {"from_epoch": 4, "weights": stage}, weights=weights).needs_teacher

    assert needs(NO_TEACHER, {"feature_lq": 1})
    assert needs({}, NO_TEACHER)
    assert not needs(NO_TEACHER, {"triplet": 2})


@pytest.mark.parametrize(
    ("begins", "weights", "first"),
    [
        (3, (1, 1, 1), 3),
        (3, (0, 1, 1), 3),
        (0, (0, 1, 0), 2),
        (0, (0, 0, 1), 5),
        (3, (1, 0, 1), 5),
        (3, (0, 0, 0), math.inf),
        (8, (1, 1, 0), math.inf),
    ],
)
def test_clothes_are_trained_where_a_term_asks_the_classifier(begins: int, weights: tuple, first: float) -> None:
    settings = WITH_TAD | {"loss": {"clothes_from_epoch": begins, "weights": {"clothes_adversarial": weights[0]}}}
    config: ExperimentConfig = build_config(
        settings
        | {
            "stages": [
                {"from_epoch": epoch, "weights": {"clothes_adversarial": weight}}
                for epoch, weight in ((2, weights[1]), (5, weights[2]))
            ]
        }
    )
    trained = [epoch for epoch in range(9) if config.staged_loss.at(epoch).trains_clothes(epoch)]
    assert min(trained, default=math.inf) == first_clothes_epoch(config.staged_loss) == first
