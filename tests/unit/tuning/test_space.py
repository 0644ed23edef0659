"""A space gives the values that it names and no others, under their conditions, or is refused in one line."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from pydantic import ValidationError

from rlq_ray.errors import UsageError
from tuning.space import Domain, Space, check_space, choices_made, choose, examples, grid, settings_of

TEXT = """
kind = { choice = ["sgd", "adam"] }
momentum = { choice = [0.8, 0.9], when = { kind = "sgd" } }
nesterov = { choice = [true, false], when = { momentum = 0.9 } }
layers = { integers = [1, 3] }
rate = { log_uniform = [1e-4, 1e-2], points = 3, when = { kind = ["adam", "sgd"] } }
weight = { uniform = [0.0, 2.0], points = 3 }
[ratio.named]
"1 : 2" = { "schedule.cap_steps" = 1, "schedule.tad_steps" = 2 }
"2 : 1" = { "schedule.cap_steps" = 2, "schedule.tad_steps" = 1 }
"""


def space_of(text: str) -> Space:
    space = {key: Domain.model_validate(domain) for key, domain in tomllib.loads(text).items()}
    check_space(space)
    return space


class Given:
    """Chooses what it was given, and remembers what it was asked."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: dict[str, tuple[Any, ...]] = {}

    def suggest_categorical(self, name: str, choices: list[str]) -> str:
        self.asked[name] = tuple(choices)
        return str(self.answers[name])

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        self.asked[name] = (low, high, log)
        return float(self.answers[name])

    def suggest_int(self, name: str, low: int, high: int) -> int:
        self.asked[name] = (low, high)
        return int(self.answers[name])


def test_every_kind_of_domain_is_asked_for_in_its_own_way() -> None:
    space = space_of(TEXT)
    given = Given({"kind": '"adam"', "layers": 2, "rate": 0.003, "weight": 0.5, "ratio": '"2 : 1"'})
    values = choose(space, given)
    assert values == {"kind": "adam", "layers": 2, "rate": 0.003, "weight": 0.5, "ratio": "2 : 1"}
    assert given.asked == {
        "kind": ('"sgd"', '"adam"'),
        "layers": (1, 3),
        "rate": (1e-4, 1e-2, True),
        "weight": (0.0, 2.0, False),
        "ratio": ('"1 : 2"', '"2 : 1"'),
    }
    assert [key for key, domain in space.items() if domain.is_log] == ["rate"]


def test_conditions_hold_through_one_another() -> None:
    space = space_of(TEXT)
    others = {"layers": 1, "rate": 1e-3, "weight": 1.0, "ratio": '"1 : 2"'}
    with_09 = choose(space, Given({"kind": '"sgd"', "momentum": "0.9", "nesterov": "false", **others}))
    assert (with_09["momentum"], with_09["nesterov"]) == (0.9, False)
    with_08 = choose(space, Given({"kind": '"sgd"', "momentum": "0.8", **others}))
    assert "nesterov" not in with_08
    assert not {"momentum", "nesterov"} & choose(space, Given({"kind": '"adam"', **others})).keys()


def test_the_choices_that_led_to_values_lead_to_them_again() -> None:
    space = space_of(TEXT)
    for values in grid(space):
        assert choose(space, Given(choices_made(space, values))) == values


def test_values_may_be_lists_and_words_and_numbers_that_look_alike() -> None:
    space = space_of('a = { choice = [[1, 2], [1], "1", 1, 1.5, true] }')
    taken = [choose(space, Given(choices_made(space, values)))["a"] for values in grid(space)]
    assert list(map(repr, taken)) == ["[1, 2]", "[1]", "'1'", "1", "1.5", "True"]


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        ({}, "exactly one"),
        ({"choice": [1], "uniform": [0, 1]}, "exactly one"),
        ({"choice": [1], "named": {"a": {}}}, "exactly one"),
        ({"uniform": [0, 1], "integers": [0, 1]}, "exactly one"),
        ({"choice": []}, "exactly one"),
        ({"uniform": [1, 0.5]}, "from 1 to 0.5: give the smaller end first"),
        ({"integers": [3, 3]}, "from 3 to 3"),
        ({"log_uniform": [0, 1]}, "greater than 0"),
        ({"uniform": [0, 1], "points": 1}, "greater than or equal to 2"),
        ({"choice": [1, 2, 1]}, "a choice has 1 twice: give each value once"),
        ({"choose": [1]}, "not permitted"),
    ],
)
def test_refuses_a_domain(domain: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Domain.model_validate(domain)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 'the space is empty: name a setting to search, such as "schedule.tad_steps" = { choice = [1, 2, 4] }'),
        (
            "a = { choice = [1], when = { b = 2 } }\nb = { choice = [2] }",
            "the space lets a count when b has a value: put b before it",
        ),
        (
            "a = { choice = [1, 2] }\nb = { choice = [1], when = { a = [2, 3] } }",
            "the space lets b count when a is 3, which it never is: take one of 1, 2",
        ),
        (
            "a = { choice = [true] }\nb = { choice = [1], when = { a = 1 } }",
            "the space lets b count when a is 1, which it never is: take one of true",
        ),
        (
            "a = { uniform = [0, 1] }\nb = { choice = [1], when = { a = 0.5 } }",
            "the space lets b count when a has a value, but that is a range: make it a choice",
        ),
        (
            "a = { choice = [1, 2] }\nb = { choice = [1], when = { a = 1 } }\n"
            "c = { choice = [1], when = { a = 2, b = 1 } }",
            "the space lets c never count, as its conditions exclude each other: mend its 'when'",
        ),
        (
            '"x.y" = { choice = [1, 2] }\n[a.named]\none = { "x.y" = 1 }\nother = {}',
            "the space changes x.y both by x.y and by a: take one of them away",
        ),
    ],
)
def test_refuses_a_space_in_one_line(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        space_of(text)
    assert str(caught.value) == words


def test_a_grid_takes_the_ends_of_ranges_and_what_lies_evenly_between() -> None:
    space = space_of(TEXT)
    assert space["layers"].grid() == [1, 2, 3]
    assert space["rate"].grid() == pytest.approx([1e-4, 1e-3, 1e-2])
    assert space["weight"].grid() == [0.0, 1.0, 2.0]
    assert space["ratio"].grid() == ["1 : 2", "2 : 1"]
    whole = Domain(integers=(10, 20), points=3).grid()
    assert whole == [10, 15, 20]
    assert all(type(value) is int for value in whole)


def test_a_grid_has_every_combination_once_and_the_last_setting_changes_fastest() -> None:
    space = space_of(
        'a = { choice = ["x", "y"] }\nb = { choice = [1, 2], when = { a = "y" } }\nc = { choice = [3, 4] }'
    )
    assert list(grid(space)) == [
        {"a": "x", "c": 3},
        {"a": "x", "c": 4},
        {"a": "y", "b": 1, "c": 3},
        {"a": "y", "b": 1, "c": 4},
        {"a": "y", "b": 2, "c": 3},
        {"a": "y", "b": 2, "c": 4},
    ]
    whole = [tuple(values.items()) for values in grid(space_of(TEXT))]
    assert len(whole) == len(set(whole)) == (2 + 2) * 3 * 3 * 3 * 2


def test_every_value_comes_up_in_an_example_and_examples_are_sound() -> None:
    space = space_of(TEXT)
    found = list(examples(space))
    for key, domain in space.items():
        shown = [values[key] for values in found if key in values]
        assert {repr(value) for value in domain.grid()} == {repr(value) for value in shown}
    everything = list(grid(space))
    assert all(values in everything for values in found)


def test_an_example_is_found_where_only_another_value_of_a_condition_will_do() -> None:
    space = space_of(
        "a = { choice = [1, 2, 3] }\nb = { choice = [1], when = { a = 3 } }\n"
        "c = { choice = [7], when = { b = 1, a = [1, 3] } }"
    )
    assert {"a": 3, "b": 1, "c": 7} in list(examples(space))


def test_settings_are_those_of_names_and_of_keys() -> None:
    space = space_of(TEXT)
    assert settings_of(space, {"layers": 2, "ratio": "2 : 1"}) == {
        "layers": 2,
        "schedule.cap_steps": 2,
        "schedule.tad_steps": 1,
    }
    assert settings_of(space, {}) == {}
