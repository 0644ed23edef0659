"""A training of a sweep keeps its best checkpoint, and is the same one however often it is cut off."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rlq_ray.config.load import build_config, merge, to_dict
from rlq_ray.distributed.reporting import SCORE
from rlq_ray.distributed.runs import RunEntry, find_run
from rlq_ray.distributed.trial import keep_end, train_trial
from rlq_ray.distributed.trial_task import Evaluated, TrialEnd, TrialTask
from rlq_ray.errors import StorageError
from rlq_ray.storage import locate
from rlq_ray.train.checkpoint import read_card, read_state
from rlq_ray.train.validation import Validation

EPOCHS = 3
MakeTask = Callable[..., TrialTask]


class CutOffError(Exception):
    """The process dies."""


class Reports:
    """Takes reports, and dies after one of them."""

    def __init__(self, last: int | None = None) -> None:
        self.curve: list[Evaluated] = []
        self._last = last

    def __call__(self, evaluated: Evaluated) -> None:
        self.curve.append(evaluated)
        if len(self.curve) == self._last:
            raise CutOffError

    def points(self) -> list[tuple[int, dict[str, float], int]]:
        return [(own.epoch, own.metrics, own.images) for own in self.curve]


@pytest.fixture(scope="module")
def make_task(configure, tmp_path_factory: pytest.TempPathFactory) -> MakeTask:
    """Make the task of a tiny training in a store of its own."""

    def make(*overrides: str, recipe: str = "tiny_rlq", until_epoch: int | None = None) -> TrialTask:
        settings = to_dict(configure(recipe, f"train.epochs={EPOCHS}", "seed=3", "workers.count=1", *overrides))
        store = tmp_path_factory.mktemp("epoch_0_store")  # named as a checkpoint is
        return TrialTask(run="one", settings=settings, store=str(store), until_epoch=until_epoch)

    return make


def entry_of(task: TrialTask) -> RunEntry:
    entry = find_run(locate(task.store), task.run)
    assert entry is not None
    return entry


def files_of(task: TrialTask) -> list[str]:
    folder = Path(task.store) / "runs" / task.run
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def weights_of(uri: str | None) -> dict[str, torch.Tensor]:
    assert uri is not None
    return dict(read_state(locate(uri))["network"])


def assert_same_training(one: TrialTask, other: TrialTask) -> None:
    ours, theirs = entry_of(one), entry_of(other)
    assert (ours.state, ours.epoch, ours.metrics) == (theirs.state, theirs.epoch, theirs.metrics)
    own = weights_of(ours.checkpoint)
    for name, tensor in weights_of(theirs.checkpoint).items():
        assert torch.equal(tensor, own[name]), name


@pytest.fixture(scope="module")
def whole(make_task: MakeTask) -> tuple[TrialTask, Reports]:
    """A training that was never cut off."""
    task, reports = make_task(), Reports()
    assert train_trial(task, reports) == TrialEnd("finished")
    return task, reports


@pytest.fixture
def falling_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every evaluation score worse than the one before, so that the latest checkpoint is not the best."""
    measure = Validation.__call__

    def measure_worse(self: Validation) -> dict[str, float]:
        return {**measure(self), self.select_on: 1 / (1 + self._state.step)}

    monkeypatch.setattr(Validation, "__call__", measure_worse)


def test_trains_and_keeps_the_best_checkpoint_alone(whole: tuple[TrialTask, Reports]) -> None:
    task, reports = whole
    assert [own.epoch for own in reports.curve] == [1, 2, 3]
    best = max(reports.curve, key=lambda own: (own.metrics[SCORE], -own.epoch))
    entry = entry_of(task)
    assert (entry.state, entry.epoch, entry.reason) == ("finished", best.epoch, "")
    assert entry.metrics["validation/hq/cc/mAP"] == best.metrics["validation/hq/cc/mAP"] == best.metrics[SCORE]
    own = [f"epoch_{best.epoch:05d}/{name}" for name in ("checkpoint.json", "state.pt")]
    assert files_of(task) == ["curve.json", *own, "run.json"]
    assert read_card(locate(str(entry.checkpoint))).epoch == best.epoch
    images = [own.images for own in reports.curve]
    assert images == [images[0], 2 * images[0], 3 * images[0]]


def test_one_that_is_cut_off_goes_on_and_ends_as_one_that_was_not(
    make_task: MakeTask, whole: tuple[TrialTask, Reports]
) -> None:
    expected, told = whole
    task = make_task()
    for last in (1, 2, 3):
        reports = Reports(last)
        with pytest.raises(CutOffError):
            train_trial(task, reports)
        assert entry_of(task).state == "running"
        assert len(reports.curve) == last, "what earlier calls trained is told again"
    reports = Reports()
    assert train_trial(task, reports) == TrialEnd("finished"), "it was cut off between its last checkpoint and its end"
    assert reports.points() == told.points()
    seconds = [own.seconds for own in reports.curve]
    assert seconds == sorted(seconds)
    assert_same_training(task, expected)
    assert files_of(task) == files_of(expected)


def test_one_with_the_teachers_features_from_the_store_goes_on_as_if_it_had_not_been_cut_off(
    make_task: MakeTask, teach, whole: tuple[TrialTask, Reports]
) -> None:
    expected, cut_off = make_task("teacher_draws=2"), make_task("teacher_draws=2")
    for task in (expected, cut_off):
        teach(build_config(task.settings), task.store)
    train_trial(expected, Reports())
    with pytest.raises(CutOffError):
        train_trial(cut_off, Reports(1))
    assert train_trial(cut_off, Reports()) == TrialEnd("finished")
    assert_same_training(cut_off, expected)
    assert entry_of(expected).metrics != entry_of(whole[0]).metrics, "they are of other draws than those of each visit"


def test_one_without_the_features_that_it_needs_fails_with_a_reason(make_task: MakeTask) -> None:
    end = train_trial(make_task("teacher_draws=2"), Reports())
    assert end.state == "failed"
    assert "draw-00000.arrow is missing: delete what is there and call again" in end.reason


@pytest.mark.usefixtures("falling_scores")
def test_the_best_and_the_latest_checkpoint_are_kept_on_the_way(make_task: MakeTask) -> None:
    task = make_task()
    with pytest.raises(CutOffError):
        train_trial(task, Reports(3))
    kept = {name.partition("/")[0] for name in files_of(task) if name.startswith("epoch")}
    assert kept == {"epoch_00001", "epoch_00003"}


def test_one_that_has_ended_is_told_again_and_not_trained(
    whole: tuple[TrialTask, Reports], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, told = whole
    monkeypatch.setattr("rlq_ray.distributed.trial_part.run_training", None)
    again = Reports()
    assert train_trial(task, again) == TrialEnd("finished")
    assert again.curve == told.curve


def test_one_after_another_in_the_same_process_is_as_one_alone(
    make_task: MakeTask, whole: tuple[TrialTask, Reports]
) -> None:
    """The first one of this process was trained by the fixture, or by any test before."""
    expected, _ = whole
    train_trial(replace(make_task("train.epochs=1", recipe="tiny_base"), run="other"), Reports())
    with pytest.raises(CutOffError):
        train_trial(make_task("optimizer.learning_rate=0.01"), Reports(1))
    task = make_task()
    train_trial(task, Reports())
    assert_same_training(task, expected)


def test_until_an_epoch_and_on_from_a_parent_is_a_whole_training(
    make_task: MakeTask, whole: tuple[TrialTask, Reports]
) -> None:
    expected, told = whole
    first, reports = make_task(until_epoch=1), Reports()
    with pytest.raises(CutOffError):
        train_trial(first, Reports(1))
    assert train_trial(first, reports) == TrialEnd("finished")
    assert [own.epoch for own in reports.curve] == [1]
    second = replace(first, run="two", parent="one", parent_epoch=1, until_epoch=None)
    with pytest.raises(CutOffError):
        train_trial(second, Reports(1))
    again = Reports()
    assert train_trial(second, again) == TrialEnd("finished")
    assert [own.metrics for own in again.curve] == [own.metrics for own in told.curve[1:]]
    assert_same_training(second, expected)


@pytest.mark.usefixtures("falling_scores")
def test_the_latest_checkpoint_is_kept_for_those_that_go_on_from_it(make_task: MakeTask) -> None:
    task = make_task(until_epoch=2)
    train_trial(task, Reports())
    kept = {name.partition("/")[0] for name in files_of(task) if name.startswith("epoch")}
    assert kept == {"epoch_00001", "epoch_00002"}


def test_until_an_epoch_without_evaluation_ends_with_the_next_one(make_task: MakeTask) -> None:
    task = make_task("train.evaluate_every_epochs=2", until_epoch=1)
    reports = Reports()
    assert train_trial(task, reports) == TrialEnd("finished")
    assert [own.epoch for own in reports.curve] == [2]


@pytest.mark.parametrize(("steps", "words"), [(3, "losses of step"), (1, "hq features of step")])
def test_an_absurd_learning_rate_diverges_and_says_so(make_task: MakeTask, steps: int, words: str) -> None:
    """Whether a loss shows it, or an evaluation before the next loss."""
    task = make_task(f"train.steps_per_epoch={steps}", "schedule.tad_steps=0", "optimizer.learning_rate=1e30")
    end = train_trial(task, Reports())
    assert end.state == "diverged"
    assert words in end.reason
    assert "are not finite" in end.reason
    assert "lower optimizer.learning_rate" in end.reason
    assert (entry_of(task).state, entry_of(task).reason) == (end.state, end.reason)
    assert train_trial(task, Reports()) == end, "for good"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ({"data": {"target": "/nowhere"}}, "no data set at"),
        ({"train": {"epochs": 0}}, "train.epochs = 0 is not possible"),
        ({"teacher": "/nowhere"}, "no checkpoint at"),
        ({"start_from": "/nowhere"}, "/nowhere"),
    ],
)
def test_what_cannot_be_trained_fails_in_one_line(make_task: MakeTask, override: dict[str, Any], words: str) -> None:
    task = make_task()
    task = replace(task, settings=merge(task.settings, override))
    end = train_trial(task, Reports())
    assert end.state == "failed"
    assert words in end.reason
    assert "\n" not in end.reason
    assert (entry_of(task).state, entry_of(task).reason, entry_of(task).checkpoint) == ("failed", end.reason, None)


@pytest.mark.usefixtures("falling_scores")
def test_one_that_failed_goes_on_where_it_was_once_that_is_mended(
    make_task: MakeTask, whole: tuple[TrialTask, Reports]
) -> None:
    _, told = whole
    task = make_task()
    with pytest.raises(CutOffError):
        train_trial(task, Reports(2))
    broken = replace(task, settings=merge(task.settings, {"data": {"target": "/nowhere"}}))
    assert train_trial(broken, Reports()).state == "failed"
    assert entry_of(task).epoch == 1
    reports = Reports()
    assert train_trial(task, reports) == TrialEnd("finished")
    assert [own.metrics["diagnostics/gradient_cosine"] for own in reports.curve] == [
        own.metrics["diagnostics/gradient_cosine"] for own in told.curve
    ]
    assert [name for name in files_of(task) if "epoch" in name] == [
        "epoch_00001/checkpoint.json", "epoch_00001/state.pt",
    ]  # fmt: skip


@pytest.mark.parametrize("place", ["parent", "own"])
@pytest.mark.parametrize("damage", ["half a state", "no state", "no card"])
def test_a_checkpoint_that_is_not_whole_fails(
    make_task: MakeTask, whole: tuple[TrialTask, Reports], place: str, damage: str
) -> None:
    expected, _ = whole
    task = make_task()
    if place == "parent":
        folder = Path(task.store) / "runs" / "parent" / "epoch_00001"
        shutil.copytree(str(entry_of(expected).checkpoint).removeprefix("file://"), folder)
        task = replace(task, parent="parent", parent_epoch=1)
    else:
        with pytest.raises(CutOffError):
            train_trial(task, Reports(1))
        folder = Path(task.store) / "runs" / "one" / "epoch_00001"
    state, card = folder / "state.pt", folder / "checkpoint.json"
    if damage == "half a state":
        state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    else:
        (state if damage == "no state" else card).unlink()
    end = train_trial(task, Reports())
    assert end.state == "failed"
    assert str(folder) in end.reason
    assert "\n" not in end.reason


@pytest.mark.usefixtures("falling_scores")
def test_one_that_is_stopped_from_outside_keeps_its_best_checkpoint_and_stays_stopped(make_task: MakeTask) -> None:
    task = make_task()
    with pytest.raises(CutOffError):
        train_trial(task, Reports(2))
    end = TrialEnd("stopped early", "behind others")
    keep_end(task, end)
    entry = entry_of(task)
    assert (entry.state, entry.reason, entry.epoch) == ("stopped early", "behind others", 1)
    assert files_of(task) == ["curve.json", "epoch_00001/checkpoint.json", "epoch_00001/state.pt", "run.json"]
    assert train_trial(task, Reports()) == end


def test_an_end_without_any_evaluation_is_kept(make_task: MakeTask) -> None:
    task = make_task()
    keep_end(task, TrialEnd("stopped early"))
    assert (entry_of(task).state, entry_of(task).checkpoint) == ("stopped early", None)


@pytest.mark.usefixtures("falling_scores")
def test_the_end_is_written_before_checkpoints_are_deleted(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who dies between would else go on from a checkpoint that is gone."""
    task = make_task()
    with pytest.raises(CutOffError):
        train_trial(task, Reports(2))

    def die(_: object) -> None:
        raise CutOffError

    monkeypatch.setattr("rlq_ray.distributed.trial_part.delete_file", die)
    with pytest.raises(CutOffError):
        keep_end(task, TrialEnd("stopped early"))
    assert entry_of(task).state == "stopped early"


def test_a_store_that_is_away_is_told_of_and_nothing_is_decided(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task()

    def refuse(*_: object) -> None:
        raise StorageError("cannot write: the store is away")

    with monkeypatch.context() as patched:
        patched.setattr("rlq_ray.distributed.trial_part.write_bytes", refuse)
        with pytest.raises(StorageError):
            train_trial(task, Reports())
    assert entry_of(task).state == "running"
