"""Proposals depend on the space, the seed and what was told, and on nothing that dies with a process."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from tuning.proposals import Proposals
from tuning.settings import SearchConfig
from tuning.space import Domain, Space, Values

SPACE: Space = {
    "kind": Domain(choice=("sgd", "adam")),
    "momentum": Domain(uniform=(0.5, 1.0), points=3, when={"kind": ["sgd"]}),
    "rate": Domain(log_uniform=(1e-4, 1e-2), points=2),
    "layers": Domain(integers=(1, 4), points=2),
    "mix": Domain(named={"weak": {"a.b": 1}, "strong": {"a.b": 2}}),
}
GRID = (3 + 1) * 2 * 2 * 2


def search(kind: str, seed: int = 0) -> SearchConfig:
    return SearchConfig.model_validate({"kind": kind, "seed": seed, "startup_trials": 4})


def score(values: Values) -> tuple[float, float]:
    """Favour one rate first and the other objective's opposite."""
    closeness = -abs(math.log10(values["rate"]) + 3)
    return 0.5 + 0.1 * closeness - 0.02 * values["layers"], 0.3 + 0.05 * values["layers"]


def outcome(number: int, values: Values, objectives: int) -> Sequence[float] | None:
    return None if number % 5 == 3 else score(values)[:objectives]  # some trainings fail


def propose_all(kind: str, objectives: int, count: int, restarts: Sequence[int] = (), late: int = 0) -> list[Values]:
    """Propose one after another, telling each outcome `late` proposals later, with new objects at some numbers."""
    own = Proposals(SPACE, search(kind), objectives, count)
    found: list[Values] = []
    for number in range(min(count, own.most)):
        if number in restarts:
            own = Proposals(SPACE, search(kind), objectives, count)
            for earlier, values in enumerate(found):
                own.take_up(earlier, values)
                if earlier < number - late:
                    own.tell(earlier, outcome(earlier, values, objectives))
        found.append(own.propose(number))
        if (told := number - late) >= 0:
            own.tell(told, outcome(told, found[told], objectives))
    return found


@pytest.mark.parametrize("objectives", [1, 2])
@pytest.mark.parametrize("kind", ["random", "tpe", "grid"])
def test_a_search_goes_on_alike_after_restarts(kind: str, objectives: int) -> None:
    whole = propose_all(kind, objectives, 14)
    assert propose_all(kind, objectives, 14, restarts=[1, 6, 7, 13]) == whole
    assert len({repr(values) for values in whole}) > 10


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_also_with_outcomes_that_come_late(kind: str) -> None:
    """With two trainings at a time a configuration is proposed before the last one's score is known."""
    assert propose_all(kind, 1, 12, restarts=range(1, 12), late=1) == propose_all(kind, 1, 12, late=1)


def test_what_is_proposed_lies_in_the_space_under_its_conditions() -> None:
    for kind in ("random", "tpe"):
        for values in propose_all(kind, 1, 20):
            assert ("momentum" in values) == (values["kind"] == "sgd")
            assert 0.5 <= values.get("momentum", 0.5) <= 1
            assert 1e-4 <= values["rate"] <= 1e-2
            assert values["layers"] in range(1, 5)
            assert values["mix"] in ("weak", "strong")


def test_seeds_draw_apart_and_scores_matter_to_tpe_alone() -> None:
    assert Proposals(SPACE, search("random", 0), 1, 9).propose(0) != Proposals(
        SPACE, search("random", 1), 1, 9
    ).propose(0)
    chance, learned = propose_all("random", 1, 12), propose_all("tpe", 1, 12)
    for kind, drawn in (("random", chance), ("tpe", learned)):
        own = Proposals(SPACE, search(kind), 1, 12)
        untold = [own.propose(number) for number in range(12)]
        assert (untold == drawn) == (kind == "random")


def test_tpe_comes_closer_than_chance() -> None:
    def best(kind: str) -> float:
        return sum(sorted(score(values)[0] for values in propose_all(kind, 1, 40))[-20:])

    assert best("tpe") > best("random")


def test_a_grid_ends_with_its_last_combination_or_where_no_more_is_wanted() -> None:
    assert Proposals(SPACE, search("grid"), 1, 100).most == GRID
    whole = propose_all("grid", 1, 100)
    assert len(whole) == GRID
    assert len({repr(values) for values in whole}) == GRID
    assert Proposals(SPACE, search("grid"), 1, 5).most == 5
    assert propose_all("grid", 1, 5) == whole[:5]
    assert Proposals(SPACE, search("tpe"), 1, 100).most == 100


def test_values_of_other_words_are_taken_up() -> None:
    """Lists and numbers among choices reach the search as words."""
    space: Space = {"a": Domain(choice=([1, 2], [3], 0.5, True))}
    own = Proposals(space, search("tpe"), 1, 9)
    for number, value in enumerate(([1, 2], 0.5, True)):
        own.take_up(number, {"a": value})
        own.tell(number, [0.1 * number])
    assert own.propose(3)["a"] in ([1, 2], [3], 0.5, True)
