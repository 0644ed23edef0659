"""A sweep's whole course with made-up trainings: who is trained with which seeds, and the same after any death."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from rlq_ray.distributed.reporting import SCORE
from rlq_ray.distributed.trial_task import FINAL, Evaluated, TrialEnd
from rlq_ray.errors import TrainingError
from rlq_ray.storage import Location, locate
from tuning.book import CONFLICT, Book, Standing
from tuning.proposals import Proposals
from tuning.record import Ledger, Training, Trial
from tuning.settings import SweepSettings
from tuning.space import Domain, Space

EPOCHS = 4
SPACE: Space = {"a": Domain(choice=(2, 0, 1)), "b": Domain(uniform=(0.0, 1.0), points=2)}
SECONDS, IMAGES = 100.0, 10
"""What an epoch of a made-up training takes."""


class KilledError(Exception):
    """The driver dies."""


class Moments:
    """Counts the moments at which a driver may die, and lets it die at one of them."""

    def __init__(self, last: int | None = None) -> None:
        self.passed = 0
        self._last = last

    def __call__(self) -> None:
        self.passed += 1
        if self.passed == self._last:
            raise KilledError


def no_moment() -> None:
    """Let the driver live."""


@dataclass
class World:
    """What outlives drivers: the store with ledger, curves and ends, the tracking store, and the clock."""

    store: Location
    curves: dict[str, list[Evaluated]] = field(default_factory=dict)
    ends: dict[str, TrialEnd] = field(default_factory=dict)
    trained: list[tuple[str, int]] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)
    standings: dict[int, Standing | None] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    ruined: set[str] = field(default_factory=set)
    now_s: float = 0.0


class MortalLedger(Ledger):
    """A ledger whose driver may die before everything it writes; after it is before the next."""

    def __init__(self, world: World, moment: Callable[[], None]) -> None:
        super().__init__(world.store, "made-up")
        self._moment = moment

    def keep(self, trial: Trial) -> None:
        self._moment()
        super().keep(trial)

    def keep_spent(self, seconds: float) -> None:
        self._moment()
        super().keep_spent(seconds)


class MortalRecorder:
    """Remembers how every training was said to have ended."""

    def __init__(self, world: World, moment: Callable[[], None]) -> None:
        self._world = world
        self._moment = moment

    def begin_trial(self, trial: Trial) -> str:
        self._moment()
        return f"trial-{trial.number}"

    def begin_training(self, trial: Trial, training: Training, changes: Any) -> str:
        self._moment()
        return f"run-of-{training.run}"

    def end_training(self, trial: Trial, training: Training, standing: Standing | None) -> None:
        self._moment()
        self._world.told[training.run] = training.state
        self._world.standings[trial.number] = standing


def score(values: Mapping[str, Any], seed: int, epoch: int) -> float:
    """Rise with epochs to what the configuration is worth, with a rest that looks like chance."""
    rest = (37 * values["a"] + 101 * round(10 * values["b"]) + 59 * seed + 13 * epoch) % 11 / 200
    return 0.1 + 0.1 * values["a"] + 0.2 * values["b"] * epoch / EPOCHS + 0.02 * seed + rest


def selection(lq: float, epoch: int) -> float:
    """Give the score that chooses the checkpoint, which is another than the objective and has ties."""
    return round(lq, 1) + 0.1 * (epoch % 2)


def train(world: World, trial: Trial, training: Training, moment: Callable[[], None]) -> Iterator[Evaluated | TrialEnd]:
    """Do what `train_trial` does: tell what is known, go on from there, and keep everything before it is told."""
    run = training.run
    curve = world.curves.setdefault(run, [])
    yield from list(curve)
    if run not in world.ends:
        for epoch in range(len(curve) + 1, EPOCHS + 1):
            if run in world.broken:
                yield TrialEnd("failed", "the disk is full")
                return
            moment()
            lq = 0.0 if run in world.ruined else score(trial.values, training.seed, epoch)
            metrics = {
                SCORE: selection(lq, epoch),
                "validation/lq/cc/mAP": lq,
                "validation/hq/cc/mAP": 0.9 - lq,
                CONFLICT: 0.1,
            }
            world.trained.append((run, epoch))
            curve.append(Evaluated(epoch, metrics, SECONDS * epoch, IMAGES * epoch))
            world.now_s += SECONDS
            yield curve[-1]
        moment()
        world.ends[run] = TrialEnd("finished")
    yield world.ends[run]


def make_book(world: World, settings: SweepSettings, moment: Callable[[], None] = no_moment) -> Book:
    return Book(
        "made-up",
        space=SPACE,
        settings=settings,
        epochs=EPOCHS,
        ledger=MortalLedger(world, moment),
        recorder=MortalRecorder(world, moment),
        clock=lambda: world.now_s,
    )


def drive(
    world: World,
    settings: SweepSettings,
    moment: Callable[[], None] = no_moment,
    at_a_time: int = 1,
    cut_off_every: int | None = None,
) -> Book:
    """Carry out a sweep as the desk does, so many trainings in turn; one loses its actor in every so many turns."""
    book = make_book(world, settings, moment)
    under_way: list[tuple[Trial, Training, Iterator[Evaluated | TrialEnd]]] = []
    for turn in itertools.count():
        while len(under_way) < at_a_time and (found := book.next()):
            assert found[1].state == "running", "what has ended is not begun again"
            under_way.append((*found, train(world, *found, moment)))
        if not under_way:
            assert book.is_done
            return book
        assert not book.is_done
        trial, training, told = own = under_way[turn % len(under_way)]
        if cut_off_every and turn % cut_off_every == cut_off_every - 1:
            under_way.remove(own)
            book.put_back(trial, training)
            continue
        what = next(told)
        if isinstance(what, Evaluated):
            if not book.note(trial, training, what):
                continue
            moment()
            what = world.ends[training.run] = TrialEnd("stopped early", "behind others")
        assert what.state in FINAL or what.state == "failed"
        book.end(trial, training, what)
        under_way.remove(own)
    raise AssertionError


def settings_of(**changes: Any) -> SweepSettings:
    sections = {
        "search": {"kind": "grid"},
        "stopping": {"kind": "none"},
        "seeds": {"values": [0, 1, 2], "keep": 0.5},
        "budget": {"trials": 6},
    }
    return SweepSettings.model_validate(sections | changes)


def results(book: Book) -> list[Any]:
    """All that counts in the end, whatever happened on the way."""
    return [
        (trial.number, trial.values, [replace(training, run_id=None) for training in trial.trainings])
        for trial in book.trials
    ]


@pytest.fixture
def new_world(tmp_path: Path) -> Callable[[], World]:
    numbers = itertools.count()
    return lambda: World(locate(tmp_path / str(next(numbers))))


def best_first(book: Book, seeds: int) -> list[int]:
    """Order configurations by their mean over the first seeds, computed from the score function."""
    means = {
        trial.number: sum(score(trial.values, seed, best_epoch(trial, seed)) for seed in range(seeds)) / seeds
        for trial in book.trials
    }
    return sorted(means, key=lambda number: -means[number])


def best_epoch(trial: Trial, seed: int) -> int:
    return max(range(1, EPOCHS + 1), key=lambda epoch: (selection(score(trial.values, seed, epoch), epoch), -epoch))


def test_each_round_trains_the_better_half_with_another_seed(new_world: Callable[[], World]) -> None:
    book = drive(new_world(), settings_of())
    by_seed = {
        seed: {trial.number for trial in book.trials if any(own.seed == seed for own in trial.trainings)}
        for seed in (0, 1, 2)
    }
    assert by_seed[0] == set(range(6))
    assert by_seed[1] == set(best_first(book, 1)[:3])
    assert by_seed[2] == set([number for number in best_first(book, 2) if number in by_seed[1]][:2])
    assert all(training.state == "finished" for trial in book.trials for training in trial.trainings)


def test_a_round_is_judged_by_the_seeds_that_all_its_members_have(new_world: Callable[[], World]) -> None:
    """What a further seed does to those that survived makes nobody a survivor who was none."""
    world = new_world()
    first, *_ = whole = best_first(drive(new_world(), settings_of()), 1)
    world.ruined = {f"made-up-{number:05d}-seed-{seed}" for number in whole for seed in (1, 2)}
    world.broken = {f"made-up-{first:05d}-seed-1"}
    book = drive(world, settings_of())
    again = {seed: {t.number for t in book.trials if any(o.seed == seed for o in t.trainings)} for seed in (1, 2)}
    assert again == {1: set(whole[:3]), 2: set(whole[1:3])}, "who has failed goes no further"
    assert [training.state for training in book.trials[first].trainings] == ["finished", "failed"]


def test_a_round_is_begun_when_the_one_before_is_over(new_world: Callable[[], World]) -> None:
    world = new_world()
    drive(world, settings_of(), at_a_time=2)
    seeds = [int(run[-1]) for run, epoch in world.trained if epoch == EPOCHS]
    assert seeds == sorted(seeds)


def test_the_chosen_checkpoint_is_the_first_best_by_its_score_and_all_is_kept(new_world: Callable[[], World]) -> None:
    book = drive(new_world(), settings_of(objectives=["lq/cc/mAP", "hq/cc/mAP"]))
    for trial in book.trials:
        for training in trial.trainings:
            epoch = best_epoch(trial, training.seed)
            lq = score(trial.values, training.seed, epoch)
            assert training.chosen == (epoch, pytest.approx(lq), pytest.approx(0.9 - lq))
            assert (training.seconds, training.images, training.conflict) == (EPOCHS * SECONDS, EPOCHS * IMAGES, 0.1)
    (best, *_) = best_first(book, 1)
    standing = book.standing(book.trials[best])
    assert standing is not None
    assert len(standing.means) == 2
    assert standing.lower_bound < standing.means[0]


def test_with_two_objectives_the_front_goes_on(new_world: Callable[[], World]) -> None:
    """The second objective falls as the first one rises, so every configuration is on the front, in its order."""
    book = drive(new_world(), settings_of(objectives=["hq/cc/mAP", "lq/cc/mAP"], seeds={"values": [0, 1]}))
    again = [trial.number for trial in book.trials if len(trial.trainings) > 1]
    assert set(again) == set(best_first(book, 1)[-3:])


def test_who_was_stopped_early_gets_no_other_seed_and_other_seeds_are_not_stopped(
    new_world: Callable[[], World],
) -> None:
    for kind in ("asha", "median"):
        book = drive(new_world(), settings_of(stopping={"kind": kind, "grace_epochs": 1}, seeds={"keep": 1.0}))
        states = {trial.number: [training.state for training in trial.trainings] for trial in book.trials}
        stopped = {number for number, own in states.items() if own == ["stopped early"]}
        assert 0 < len(stopped) < 5
        assert all(states[number] == ["finished"] * 3 for number in states if number not in stopped)
        assert all(len(book.trials[number].trainings[0].curve) < EPOCHS for number in stopped)


def test_a_space_that_is_smaller_than_the_budget_ends(new_world: Callable[[], World]) -> None:
    world, settings = new_world(), settings_of(budget={"trials": 50}, seeds={"values": [0]})
    assert len(drive(world, settings).trials) == 6
    assert make_book(world, settings).is_done, "known at once after a restart"


@pytest.mark.parametrize(
    ("budget", "epochs"),
    [
        ({"trials": 6, "images": 2 * EPOCHS * IMAGES}, 2 * EPOCHS),
        ({"trials": 6, "images": 2 * EPOCHS * IMAGES + 1}, 3 * EPOCHS),
        ({"trials": 6, "hours": 4.5 * EPOCHS * SECONDS / 3600}, 5 * EPOCHS),
        ({"trials": 2}, 6 * EPOCHS),
    ],
)
def test_no_training_is_begun_once_a_budget_is_spent_and_those_under_way_end(
    new_world: Callable[[], World], budget: dict[str, float], epochs: int
) -> None:
    world = new_world()
    book = drive(world, settings_of(budget=budget))
    assert len(world.trained) == epochs
    assert book.is_done
    assert all(training.state == "finished" for trial in book.trials for training in trial.trainings)


def test_what_is_under_way_goes_on_after_a_restart_whatever_is_spent(new_world: Callable[[], World]) -> None:
    world, settings = new_world(), settings_of(budget={"trials": 6, "images": 1})
    with pytest.raises(KilledError):
        drive(world, settings, Moments(8))
    book = drive(world, settings)
    assert [len(trial.trainings[0].curve) for trial in book.trials] == [EPOCHS]


def test_hours_count_over_all_drivers_but_not_between_them(new_world: Callable[[], World]) -> None:
    settings = settings_of(budget={"trials": 6, "hours": 4.5 * EPOCHS * SECONDS / 3600})
    whole = new_world()
    drive(whole, settings)
    world = new_world()
    for last in (20, 50):
        with pytest.raises(KilledError):
            drive(world, settings, Moments(last))
        world.now_s += 1e6
    drive(world, settings)
    assert len(world.trained) == len(whole.trained)


@pytest.mark.parametrize(
    "settings",
    [
        settings_of(
            stopping={"kind": "asha", "grace_epochs": 1},
            seeds={"values": [3, 1], "keep": 0.4},
            budget={"trials": 5},
        ),
        settings_of(
            stopping={"kind": "median", "grace_epochs": 2},
            search={"kind": "random"},
            seeds={"values": [0, 1], "keep": 0.2},
            budget={"trials": 5},
        ),
        settings_of(
            search={"kind": "tpe", "startup_trials": 2},
            stopping={"kind": "asha", "grace_epochs": 1},
            objectives=["lq/cc/mAP", "hq/cc/mAP"],
            seeds={"values": [0, 1]},
            budget={"trials": 5},
        ),
    ],
    ids=["grid", "random", "tpe"],
)
def test_a_driver_may_die_at_any_moment_and_the_sweep_comes_out_the_same(
    new_world: Callable[[], World], settings: SweepSettings
) -> None:
    counted, whole_world = Moments(), new_world()
    whole = drive(whole_world, settings, counted)
    assert len({training.state for trial in whole.trials for training in trial.trainings}) == 2, "some stop early"
    for last in range(1, counted.passed + 1):
        world = new_world()
        with pytest.raises(KilledError):
            drive(world, settings, Moments(last))
        book = drive(world, settings)
        assert results(book) == results(whole), last
        assert results(make_book(world, settings)) == results(whole), "the ledger has it all"
        assert sorted(world.trained) == sorted(whole_world.trained), "no epoch is trained twice"
        assert (world.told, world.standings) == (whole_world.told, whole_world.standings), "the recorder was told"


@pytest.mark.parametrize("every", [2, 3, 7])
def test_trainings_that_lose_their_actors_are_the_next_ones_again(new_world: Callable[[], World], every: int) -> None:
    """An epoch takes more turns after each loss, since what is known is told again, so losses keep a distance."""
    settings = settings_of(stopping={"kind": "asha", "grace_epochs": 1})
    whole_world, world = new_world(), new_world()
    whole, book = drive(whole_world, settings), drive(world, settings, cut_off_every=every + EPOCHS)
    assert results(book) == results(whole)
    assert world.trained == whole_world.trained, "in the same order, and no epoch twice"


def test_a_driver_that_dies_again_and_again_comes_to_the_end(new_world: Callable[[], World]) -> None:
    settings = settings_of(stopping={"kind": "asha", "grace_epochs": 1})
    whole, world = drive(new_world(), settings), new_world()
    for step in itertools.cycle((9, 17, 5)):
        try:
            book = drive(world, settings, Moments(step))
        except KilledError:
            continue
        break
    assert results(book) == results(whole)


def test_a_decision_to_stop_outlives_the_driver_even_if_the_others_look_better_since(
    new_world: Callable[[], World],
) -> None:
    world, settings = new_world(), settings_of(stopping={"kind": "asha", "grace_epochs": 1})
    book = make_book(world, settings)
    (first, own), (second, other) = [found for found in (book.next(), book.next()) if found]

    def point(epoch: int, lq: float) -> Evaluated:
        return Evaluated(epoch, {SCORE: lq, "validation/lq/cc/mAP": lq}, SECONDS * epoch, IMAGES * epoch)

    assert not book.note(first, own, point(1, 0.5))
    assert book.note(second, other, point(1, 0.4))
    book = make_book(world, settings)
    (first, own), (second, other) = [found for found in (book.next(), book.next()) if found]
    third = book.next()
    assert third is not None
    assert book.note(*third, point(1, 0.3)), "it is held against those that are still under way"
    assert not book.note(first, own, point(1, 0.5))
    assert book.note(second, other, point(1, 0.4))


def test_what_is_told_again_changes_nothing(new_world: Callable[[], World]) -> None:
    world, settings = new_world(), settings_of()
    book = make_book(world, settings)
    found = book.next()
    assert found is not None
    points = []
    for what in itertools.islice(train(world, *found, Moments()), 3):
        assert isinstance(what, Evaluated)
        points.append(what)
        book.note(*found, what)
    before = replace(found[1], curve=list(found[1].curve))
    book.note(*found, points[0])
    assert found[1] == before


def test_what_failed_is_tried_again_after_a_restart_and_goes_on_where_it_was(new_world: Callable[[], World]) -> None:
    settings = settings_of(stopping={"kind": "asha", "grace_epochs": 2})
    whole, world = new_world(), new_world()
    expected = drive(whole, settings)
    world.broken = {"made-up-00001-seed-0", "made-up-00005-seed-0"}
    book = drive(world, settings)
    assert book.is_done
    assert {n: book.trials[n].trainings[0].state for n in (1, 5)} == {1: "failed", 5: "failed"}
    assert all(len(book.trials[number].trainings) == 1 for number in (1, 5))
    world.broken.clear()
    again = make_book(world, settings)
    assert not again.is_done
    book = drive(world, settings)
    assert all(training.state != "failed" for trial in book.trials for training in trial.trainings)
    assert all(training.reason != "the disk is full" for trial in book.trials for training in trial.trainings)
    assert len(world.trained) == len(set(world.trained))
    best = {trial.number for trial in expected.trials if len(trial.trainings) == 3}
    assert best <= {trial.number for trial in book.trials if len(trial.trainings) == 3}


def test_the_search_is_told_of_each_first_seed_what_it_came_to(
    new_world: Callable[[], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[int, Sequence[float] | None] = {}
    monkeypatch.setattr(Proposals, "tell", lambda self, number, scores: told.update({number: scores}))
    world, settings = new_world(), settings_of(stopping={"kind": "asha", "grace_epochs": 1})
    world.broken = {"made-up-00004-seed-0"}
    book = drive(world, settings)
    firsts = {trial.number: trial.trainings[0] for trial in book.trials}
    assert {own.state for own in firsts.values()} == {"finished", "stopped early", "failed"}
    expected = {number: own.chosen[1:] if own.chosen else None for number, own in firsts.items()}
    assert told == expected
    told.clear()
    make_book(world, settings)
    assert told == {number: scores for number, scores in expected.items() if number != 4}, "that one goes on"


@pytest.mark.parametrize("at_a_time", [2, 3, 9])
def test_several_at_a_time_end_too_and_after_a_death(new_world: Callable[[], World], at_a_time: int) -> None:
    for stopping in ("none", "asha"):
        settings = settings_of(stopping={"kind": stopping, "grace_epochs": 1})
        counted, whole_world = Moments(), new_world()
        whole = drive(whole_world, settings, counted, at_a_time)
        for last in range(7, counted.passed, 23):
            world = new_world()
            with pytest.raises(KilledError):
                drive(world, settings, Moments(last), at_a_time)
            book = drive(world, settings, at_a_time=at_a_time)
            assert len(world.trained) == len(set(world.trained))
            if stopping == "none":  # else it depends on who comes first
                assert results(book) == results(whole)


def test_an_objective_that_trainings_do_not_measure_is_named(new_world: Callable[[], World]) -> None:
    world = new_world()
    with pytest.raises(TrainingError, match=r"do not measure validation/lq/sc/mAP: take an objective among") as caught:
        drive(world, settings_of(objectives=["lq/sc/mAP"]))
    assert "\n" not in str(caught.value)


def test_a_recorder_that_fails_leaves_no_half_a_configuration(new_world: Callable[[], World]) -> None:
    """The sweep ends there, and its report is written from the trials that there are."""
    book = make_book(new_world(), settings_of(), Moments(2))
    with pytest.raises(KilledError):
        book.next()
    assert book.trials == []
