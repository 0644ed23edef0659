"""A rehearsal takes real steps of every phase, counts the whole training, and leaves nothing behind."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.recipe import read_experiment
from rlq_ray.collectives import World
from rlq_ray.errors import DivergedError
from rlq_ray.storage import locate
from rlq_ray.train import rehearsal
from rlq_ray.train.checkpoint import STATE_FILE, read_network
from rlq_ray.train.rehearsal import TIMED, Rehearsal, evaluation_epochs, rehearse

CPU = torch.device("cpu")


@pytest.fixture
def aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, empty."""
    (tmp_path / "aside").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "aside"))
    return tmp_path / "aside"


def read(tiny_people: Any, recipe: str, *overrides: str) -> Any:
    data = [f"data.{role}={uri}" for role, uri in tiny_people.shards.items()]
    return read_experiment(recipe, [*data, "workers.count=1", *overrides])


@pytest.fixture(scope="module")
def teacher(tiny_people, tmp_path_factory: pytest.TempPathFactory) -> tuple[Rehearsal, Path]:
    folder = tmp_path_factory.mktemp("teacher")
    config = read(tiny_people, "tiny_base", "schedule.tad_steps=0", f"data.target={tiny_people.shards['external']}")
    return rehearse(config, world=World(), device=CPU, folder=folder), folder


def test_what_it_keeps_is_a_checkpoint(teacher: tuple[Rehearsal, Path]) -> None:
    found, folder = teacher
    assert found.checkpoint_bytes == (folder / STATE_FILE).stat().st_size
    network, card = read_network(locate(folder))
    assert card.config.name == "tiny-base"
    assert sum(parameter.numel() for parameter in network.parameters()) * 4 < found.checkpoint_bytes, (
        "and its optimiser"
    )


def test_steps_of_both_phases_are_taken_and_those_of_the_training_counted(
    tiny_people, teacher: tuple[Rehearsal, Path], aside: Path
) -> None:
    config = read(tiny_people, "tiny_rlq", f"teacher={teacher[1]}", "schedule.tad_steps=2")
    found = rehearse(config, world=World(), device=CPU)
    assert {name: cost.steps for name, cost in found.phases.items()} == {"cap": 6, "tad": 12}
    for cost in found.phases.values():
        assert len(cost.step_s) == TIMED
        assert min(cost.step_s) > 0
        assert cost.images == 8
        assert cost.read_bytes > 0
    assert found.evaluations == 2
    assert found.peak_bytes > 10**8
    assert found.gpu_peak_bytes is None
    assert found.evaluation_read_bytes > 0
    assert list(aside.iterdir()) == []


def test_a_slow_phase_takes_few_steps(tiny_people, aside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "BUDGET_S", 0.0)
    found = rehearse(read(tiny_people, "tiny_base"), world=World(), device=CPU)
    assert len(found.phases["cap"].step_s) == 1, "the second of two"


def test_an_evaluation_of_many_images_is_inferred_from_some(tiny_people, monkeypatch: pytest.MonkeyPatch) -> None:
    config = read(tiny_people, "tiny_base")
    embedded: list[int] = []
    whole = rehearsal.Embedding.rows
    monkeypatch.setattr(rehearsal, "EMBEDDED", 2)
    monkeypatch.setattr(
        rehearsal.Embedding,
        "rows",
        lambda self, network, dataset, rows, quality: (
            embedded.append(len(rows)) or whole(self, network, dataset, rows, quality)
        ),
    )
    found = rehearse(config, world=World(), device=CPU)
    assert embedded == [2, 2], "of the validation images, in each quality"
    assert found.evaluation_s > 0


def test_what_a_training_could_not_go_on_from_is_found(tiny_people, monkeypatch: pytest.MonkeyPatch) -> None:
    config = read(
        tiny_people,
        "tiny_base",
        "optimizer.learning_rate=1e30",
        "optimizer.curve=milestones",
        "optimizer.warmup_epochs=0",
    )
    with pytest.raises(DivergedError, match="not finite"):
        rehearse(config, world=World(), device=CPU)


@pytest.mark.parametrize(("every", "epochs", "found"), [(2, 6, [2, 4, 6]), (4, 6, [4, 6]), (10, 3, [3])])
def test_the_last_epoch_is_always_evaluated(tiny_people, every: int, epochs: int, found: list[int]) -> None:
    config = read(tiny_people, "tiny_base", f"train.epochs={epochs}", f"train.evaluate_every_epochs={every}")
    assert evaluation_epochs(config) == found
