"""Training steps on a CUDA device: both phases in both precisions, and none from a loss that is not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from rlq_ray.collectives import World
from rlq_ray.config.load import load_recipe
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.errors import TrainingError
from rlq_ray.train.build import Parts, build
from rlq_ray.train.checkpoint import CheckpointCard, write_checkpoint
from rlq_ray.train.loop import Plan, StepRecord, stop_unless_finite, train_step

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
    pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities of TorchVision"),
]
CUDA = torch.device("cuda")
RECIPES = Path(__file__).parents[2] / "pipelines" / "recipes"
TINY: tuple[str, ...] = ()
PUBLISHED = (
    "model.backbone=resnet50",
    "model.weights=random",
    "model.input_height=384",
    "model.input_width=192",
    "train.channels_last=true",
)
Start = Callable[..., tuple[ExperimentConfig, Parts]]


@pytest.fixture
def start(tiny_people, tmp_path: Path) -> Iterator[Start]:
    """Build an RLQ training on the tiny people, whose teacher knows nothing; the clothes take part from the start."""
    made: list[Parts] = []

    def build_from(recipe: str, *settings: str) -> tuple[ExperimentConfig, Parts]:
        config = load_recipe(RECIPES / f"{recipe}.toml", settings)
        made.append(build(config, world=World(), device=CUDA))
        return config, made[-1]

    def start_rlq(*overrides: str) -> tuple[ExperimentConfig, Parts]:
        shards = tiny_people.shards
        config, parts = build_from("tiny_base", f"data.target={shards['external']}", "seed=5", *overrides)
        card = CheckpointCard(config, parts.split.classes, parts.target.manifest.content_hash, epoch=0, step=0)
        write_checkpoint(tmp_path, card, parts.state.state_dict())
        sources = (f"data.target={shards['target']}", f"data.external={shards['external']}", f"teacher={tmp_path}")
        return build_from("tiny_rlq", *sources, "loss.clothes_from_epoch=0", *overrides)

    yield start_rlq
    for parts in made:
        parts.close()


def _step(config: ExperimentConfig, parts: Parts, phase: str) -> StepRecord:
    parts.state.network.train()
    plan = Plan(parts.timeline, config.staged_optimizer, config.train, "none", CUDA)
    record = train_step(parts.state, plan, parts.state.phases[phase], 1e-3)
    parts.state.step += 1
    return record


def _weights(parts: Parts) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in parts.state.network.named_parameters()}


@pytest.mark.parametrize("size", [TINY, PUBLISHED], ids=["tiny", "published"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_steps_of_both_phases_are_finite_and_move_the_weights(start, size, precision) -> None:
    config, parts = start(*size, f"train.precision={precision}")
    before = _weights(parts)
    for phase in ("cap", "tad", "cap", "tad"):
        record = _step(config, parts, phase)
        assert record.terms_N.is_cuda
        assert record.terms_N.dtype == torch.float32
        stop_unless_finite(record)
    after = _weights(parts)
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in after.values())
    assert {name for name in after if not torch.equal(before[name], after[name])} == set(after)


def test_bf16_losses_are_near_those_in_fp32(start) -> None:
    terms = []
    for precision in ("fp32", "bf16"):
        config, parts = start(f"train.precision={precision}")
        terms.append(torch.cat([_step(config, parts, phase).terms_N for phase in ("cap", "tad")]))
    assert not torch.equal(*terms)
    torch.testing.assert_close(*terms, rtol=0.05, atol=0.05)


def test_a_loss_that_is_not_finite_leaves_the_update_out(start) -> None:
    config, parts = start("train.precision=bf16")
    _step(config, parts, "cap")
    with torch.no_grad():
        parts.state.network.identity_head.weight[0, 0] = float("nan")
    before, moments = _weights(parts), _moments(parts)
    record = _step(config, parts, "cap")
    assert not record.terms_N.isfinite().all()
    after = _weights(parts)
    for name in before:
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=0, equal_nan=True, msg=name)
    for moment, then in zip(_moments(parts), moments, strict=True):
        torch.testing.assert_close(moment, then, rtol=0, atol=0)
    with pytest.raises(TrainingError, match=r"the cap losses of step 1 are not finite"):
        stop_unless_finite(record)


def _moments(parts: Parts) -> list[torch.Tensor]:
    state = parts.state.optimizer.state_dict()["state"]
    return [value.clone() for values in state.values() for value in values.values()]
