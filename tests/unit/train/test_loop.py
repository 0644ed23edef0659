from __future__ import annotations

import copy
import io
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from pipelines.train import preflight
from rlq_ray.collectives import World, step_if_finite
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.errors import CheckpointError, TrainingError
from rlq_ray.storage import locate
from rlq_ray.train.build import Parts, build
from rlq_ray.train.checkpoint import CheckpointCard, read_card, read_network, read_state, write_checkpoint
from rlq_ray.train.features import Embedding
from rlq_ray.train.loop import Plan, StepRecord, fit, train_step
from rlq_ray.train.state import TrainState
from rlq_ray.train.validation import Validation

CPU = torch.device("cpu")


class Memory:
    """Keeps what a training told, and a copy of its state after each evaluation."""

    def __init__(self) -> None:
        self.records: list[StepRecord] = []
        self.epochs: list[int] = []
        self.bests: list[bool] = []
        self.scores: list[float] = []
        self.metrics: list[Mapping[str, float]] = []
        self.states: list[dict] = []
        self.stopped: dict | None = None

    def after_step(self, record: StepRecord) -> None:
        self.records.append(record)

    def after_epoch(self, state: TrainState, epoch: int, metrics: Mapping[str, float], *, is_best: bool) -> None:
        assert all(math.isfinite(value) for value in metrics.values())
        self.epochs.append(epoch)
        self.scores.append(metrics.get("validation/hq/cc/mAP", 0.0))
        self.metrics.append(metrics)
        self.bests.append(is_best)
        self.states.append(torch.load(_saved(state), weights_only=True))

    def after_stop(self, state: TrainState) -> None:
        self.stopped = torch.load(_saved(state), weights_only=True)

    def losses(self) -> list[tuple[str, list[float]]]:
        return [(record.phase, record.terms_N.tolist()) for record in self.records]


def _saved(state: TrainState):
    buffer = io.BytesIO()
    torch.save(state.state_dict(), buffer)
    buffer.seek(0)
    return buffer


def run(config: ExperimentConfig, resume: dict | None = None, stop_at: int | None = None) -> tuple[Memory, Parts]:
    parts = build(config, world=World(), device=CPU)
    if resume:
        parts.state.load_state_dict(copy.deepcopy(resume))
    embedding = Embedding.of(config, parts.augmenter, CPU)
    validation = Validation(parts, embedding, config.evaluate, World())
    memory = Memory()
    ended = fit(
        parts.state,
        Plan(parts.timeline, config.staged_optimizer, config.train, validation.select_on, CPU),
        validation,
        memory,
        lambda step: step == stop_at,
    )
    assert ended == ("finished" if stop_at is None else "stopped")
    parts.close()
    return memory, parts


def test_alternates_the_phases_and_names_every_term(configure) -> None:
    memory, parts = run(configure("tiny_rlq"))
    assert [record.phase for record in memory.records] == ["tad", "cap"] * 6
    assert set(memory.records[0].names) == {"feature_hq", "feature_lq", "agreement_lq"}
    first_cap, last_cap = memory.records[1], memory.records[-1]
    everywhere = {"identity_clothes", "identity", "agreement", "triplet", "gender", "pose", "disentangle"}
    assert set(first_cap.names) == everywhere
    assert set(last_cap.names) == everywhere | {"clothes_adversarial"}, "clothes_from_epoch = 1"
    assert memory.epochs == [1, 2]
    assert parts.state.step == 12


def test_the_same_seed_gives_the_same_losses_and_another_seed_does_not(configure) -> None:
    once, _ = run(configure("tiny_rlq"))
    again, _ = run(configure("tiny_rlq"))
    other, _ = run(configure("tiny_rlq", "seed=1"))
    assert once.losses() == again.losses()
    assert once.losses() != other.losses()


@pytest.fixture(scope="module")
def whole(configure) -> tuple[Memory, Parts]:
    return run(configure("tiny_rlq"))


def test_interrupted_equals_uninterrupted(configure, whole: tuple[Memory, Parts]) -> None:
    expected, expected_parts = whole
    resumed, parts = run(configure("tiny_rlq"), resume=expected.states[0])
    assert resumed.losses() == expected.losses()[6:]
    assert resumed.metrics == expected.metrics[1:], "diagnostics too"
    for name, tensor in expected_parts.state.network.state_dict().items():
        assert torch.equal(tensor, parts.state.network.state_dict()[name]), name


@pytest.mark.parametrize("stop_at", [3, 8])
def test_stopped_between_two_steps_equals_undisturbed(configure, whole: tuple[Memory, Parts], stop_at: int) -> None:
    """Epochs have 6 steps, and phases take turns, so a gradient waits for its neighbour wherever it stops."""
    config = configure("tiny_rlq")
    expected, expected_parts = whole
    memory, _ = run(config, stop_at=stop_at)
    assert memory.stopped is not None
    assert memory.stopped["step"] == stop_at
    resumed, parts = run(config, resume=memory.stopped)
    assert memory.losses() + resumed.losses() == expected.losses()
    assert memory.metrics + resumed.metrics == expected.metrics, "diagnostics too"
    assert memory.bests + resumed.bests == expected.bests
    for name, tensor in expected_parts.state.network.state_dict().items():
        assert torch.equal(tensor, parts.state.network.state_dict()[name]), name


@pytest.mark.parametrize("stop_at", [0, 6])
def test_stopped_where_a_checkpoint_was_kept_it_keeps_no_other(configure, stop_at: int) -> None:
    memory, _ = run(configure("tiny_rlq"), stop_at=stop_at)
    assert len(memory.records) == stop_at
    assert len(memory.states) == stop_at / 6
    assert memory.stopped is None


def test_a_checkpoint_of_before_comparisons_were_kept_is_read(configure, whole: tuple[Memory, Parts]) -> None:
    expected, _ = whole
    state = {key: value for key, value in expected.states[0].items() if key != "comparison"}
    resumed, _ = run(configure("tiny_rlq"), resume=state)
    assert resumed.metrics == expected.metrics[1:]


def test_tad_leaves_alone_what_it_does_not_use(configure) -> None:
    """Adam would move a parameter whose gradient is zero but there; pose and gender must not have one."""
    config = configure("tiny_rlq")
    parts = build(config, world=World(), device=CPU)
    before = {name: value.clone() for name, value in parts.state.network.named_parameters()}
    plan = Plan(parts.timeline, config.staged_optimizer, config.train, "none", CPU)
    train_step(parts.state, plan, parts.state.phases["tad"], 1e-3)
    moved = {name for name, value in parts.state.network.named_parameters() if not torch.equal(value, before[name])}
    parts.close()
    assert any(name.startswith("identity_branch") for name in moved)
    assert not any(name.startswith(("pose_", "gender_")) for name in moved)


def test_without_masks_there_are_no_copies(configure) -> None:
    memory, parts = run(configure("tiny_base", "augment.recolour=false", "train.epochs=1"))
    assert len(memory.records) == 3
    assert parts.state.clothes.classifier.weight.shape[0] == len(parts.split.classes.clothes)


def test_best_is_kept_by_the_validation_score(configure) -> None:
    memory, parts = run(configure("tiny_base", "train.epochs=3"))
    highest, expected = float("-inf"), []
    for score in memory.scores:
        expected.append(score > highest)
        highest = max(highest, score)
    assert memory.bests == expected
    assert parts.state.best.epoch == memory.epochs[memory.scores.index(max(memory.scores))]


def test_without_validation_the_latest_is_the_best(configure) -> None:
    memory, _ = run(configure("tiny_base", "data.validation_fraction=0"))
    assert memory.bests == [True, True]


def test_stops_before_the_update_when_a_loss_is_not_finite(configure) -> None:
    config = configure("tiny_base", "augment.recolour=false")
    parts = build(config, world=World(), device=CPU)
    with torch.no_grad():
        parts.state.network.identity_head.weight.fill_(float("nan"))
    before = {name: value.clone() for name, value in parts.state.network.named_parameters()}
    plan = Plan(parts.timeline, config.staged_optimizer, config.train, "none", CPU)
    with pytest.raises(TrainingError, match=r"step 0 are not finite .* lower optimizer\.learning_rate"):
        fit(parts.state, plan, dict, Memory())
    for name, value in parts.state.network.named_parameters():
        assert torch.equal(value.nan_to_num(), before[name].nan_to_num()), name
    parts.close()


def test_an_update_from_a_loss_that_is_not_finite_is_left_out_on_the_device() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([weight], lr=0.1, fused=True)
    weight.grad = torch.tensor([1.0, float("nan")])
    step_if_finite(optimizer, torch.tensor([1.0, float("nan")]))
    assert torch.equal(weight, torch.ones(2))
    weight.grad = torch.ones(2)
    step_if_finite(optimizer, torch.tensor([1.0, 2.0]))
    assert (weight < 1).all()


def test_bf16_trains_and_keeps_weights_and_losses_in_fp32(configure) -> None:
    memory, parts = run(configure("tiny_rlq", "train.precision=bf16", "train.epochs=1"))
    exact, _ = run(configure("tiny_rlq", "train.epochs=1"))
    assert {p.dtype for p in parts.state.network.parameters()} == {torch.float32}
    assert memory.records[0].terms_N.dtype == torch.float32
    assert memory.losses() != exact.losses()
    torch.testing.assert_close(memory.records[0].terms_N, exact.records[0].terms_N, rtol=0.05, atol=0.05)


def test_a_single_branch_is_trained_and_measured_and_teaches_nobody(configure, tmp_path: Path) -> None:
    alone = ["model.single_branch=true", "model.pose_branch=false", "model.gender_head=false"]
    config = configure("tiny_base", *alone, "train.epochs=1")
    memory, parts = run(config)
    assert set(memory.records[0].names) == {"identity", "triplet"}
    embedding = Embedding.of(config, parts.augmenter, CPU)
    no_rows, two_rows = parts.split.train_rows[:0], parts.split.train_rows[:2]
    assert embedding.rows(parts.state.network, parts.target, no_rows, "hq").shape == (0, 64)
    assert embedding.rows(parts.state.network, parts.target, two_rows, "hq").shape == (2, 64)
    write_checkpoint(tmp_path, CheckpointCard(config, parts.split.classes, "", 1, 3), parts.state.state_dict())
    with pytest.raises(CheckpointError, match=r"has model\.single_branch=True, the training False: take the same"):
        preflight(configure("tiny_rlq", f"teacher={tmp_path}"))


def test_rlq_trains_on_a_transformer_that_a_transformer_teaches(configure, tmp_path: Path) -> None:
    small = ["model.backbone=eva02_tiny", "model.input_height=56", "model.input_width=28", "train.epochs=1"]
    config = configure("tiny_base", *small)
    taught = build(config, world=World(), device=CPU)
    write_checkpoint(tmp_path, CheckpointCard(config, taught.split.classes, "", 0, 0), taught.state.state_dict())
    taught.close()
    with pytest.raises(CheckpointError, match=r"has model\.backbone=narrow, the training eva02_tiny: take the same"):
        preflight(configure("tiny_rlq", *small))
    student = configure("tiny_rlq", *small, f"teacher={tmp_path}", "train.precision=bf16")
    preflight(student)
    memory, parts = run(student)
    assert [record.phase for record in memory.records] == ["tad", "cap"] * 3
    assert all(math.isfinite(value) for _, values in memory.losses() for value in values)
    assert parts.state.best.epoch == 1


def test_a_teacher_of_another_size_is_refused(configure) -> None:
    with pytest.raises(CheckpointError, match="features of size 64, the student of 128"):
        build(configure("tiny_rlq", "model.narrow_width=8"), world=World(), device=CPU)


def test_a_training_starts_from_the_layers_of_a_checkpoint_with_heads_of_its_own(configure) -> None:
    teacher = configure("tiny_rlq").teacher
    taught, _ = read_network(locate(teacher))
    parts = build(configure("tiny_rlq", f"start_from={teacher}"), world=World(), device=CPU)
    plain = build(configure("tiny_rlq"), world=World(), device=CPU)
    own, theirs, fresh = (network.state_dict() for network in (parts.state.network, taught, plain.state.network))
    layers = {name for name in theirs if "_head." not in name}
    assert all(torch.equal(own[name], theirs[name]) for name in layers)
    anew = own.keys() - layers
    assert {name.partition(".")[0] for name in anew} == {
        "identity_head", "identity_clothes_head", "gender_head", "pose_branch", "pose_head"
    }  # fmt: skip
    assert all(torch.equal(own[name], fresh[name]) for name in anew)
    parts.close()
    plain.close()
    with pytest.raises(CheckpointError, match=r"start_from is a checkpoint of another model: .* instead of "):
        build(configure("tiny_rlq", f"start_from={teacher}", "model.narrow_width=8"), world=World(), device=CPU)


def test_a_checkpoint_comes_back_whole(configure, tmp_path: Path) -> None:
    config = configure("tiny_base", "train.epochs=1")
    _, parts = run(config)
    card = CheckpointCard(config, parts.split.classes, "hash", epoch=1, step=3, metrics={"a": 0.5})
    write_checkpoint(tmp_path, card, parts.state.state_dict())
    assert read_card(locate(tmp_path)) == card
    network, _ = read_network(locate(tmp_path))
    image = torch.rand(2, 3, 64, 32)
    torch.testing.assert_close(network.embed(image), parts.state.network.eval().embed(image), rtol=0, atol=1e-6)
    assert read_state(locate(tmp_path))["step"] == 3
    (tmp_path / "state.pt").write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"state\.pt is damaged"):
        read_state(locate(tmp_path))
    (tmp_path / "checkpoint.json").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        read_card(locate(tmp_path))
