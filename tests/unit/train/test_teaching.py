"""Features from the store are those that the teacher would have of the same pixels, and no training takes others'."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from rlq_ray.collectives import World
from rlq_ray.config.load import build_config, to_dict
from rlq_ray.errors import CheckpointError
from rlq_ray.phases import Moment
from rlq_ray.storage import locate
from rlq_ray.train.build import Parts, build
from rlq_ray.train.checkpoint import read_card, read_state, write_checkpoint
from rlq_ray.train.networks import read_teacher
from rlq_ray.train.teaching import TaughtSet

CPU = torch.device("cpu")
WILD = ("augment.erase_probability=0.9", "augment.brightness=0.4", "augment.enlarge_factor=1.5")
"""Settings under which no image is as it was."""


@contextmanager
def built(config, store: Path, world: World = World()) -> Iterator[Parts]:  # noqa: B008
    parts = build(config, world=world, device=CPU, store=locate(store))
    try:
        yield parts
    finally:
        parts.close()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_features_are_those_of_the_pixels_that_the_student_sees(
    configure, teach, tmp_path: Path, precision: str
) -> None:
    config = configure("tiny_rlq", *WILD, "teacher_draws=2", f"train.precision={precision}")
    teach(config, tmp_path)
    teacher = read_teacher(config, CPU)
    # float16 keeps 11 bits of a number, bfloat16 8; both are of unit vectors
    tolerance = 2**-11 if precision == "fp32" else 2**-8
    with built(config, tmp_path) as parts, torch.no_grad():
        phase, views = parts.state.phases["tad"], {}
        for step in range(3 * phase.loader.steps_per_epoch):
            batch = phase.loader.next_batch()
            clean, _ = phase._two_views(batch, Moment(step, 0))
            taught = phase._taught(batch, clean)
            for ours, theirs in zip(taught, teacher.features(clean), strict=True):
                torch.testing.assert_close(ours, F.normalize(theirs.float(), dim=1), rtol=0, atol=tolerance)
            for row, view in zip(batch.row_B.tolist(), clean, strict=True):
                views.setdefault(row, []).append(view)
    epochs = [[len(seen), *(torch.equal(seen[0], other) for other in seen[1:])] for seen in views.values()]
    assert epochs == [[3, False, True]] * len(views), "the third epoch has the first one's draw"


def test_the_losses_are_those_of_the_same_draws_with_the_teacher_itself(configure, teach, tmp_path: Path) -> None:
    config = configure("tiny_rlq", *WILD, "teacher_draws=1")
    teach(config, tmp_path)
    with built(config, tmp_path) as parts:
        phase = parts.state.phases["tad"]
        parts.state.network.eval()
        batch = phase.loader.next_batch()
        looked_up = phase.losses(batch, Moment(0, 0))
        own = {name: getattr(batch, name) for name in batch.__dataclass_fields__} | {"taught_2BD": None}
        assert phase.teacher is None, "nobody reads what is not asked"
        phase.teacher = read_teacher(config, CPU).features
        computed = phase.losses(type(batch)(**own), Moment(0, 0))
    assert looked_up.keys() == computed.keys()
    for name, value in computed.items():
        torch.testing.assert_close(looked_up[name], value, rtol=2e-5, atol=2e-5, msg=name)


def test_two_workers_see_what_one_sees(configure, teach, tmp_path: Path) -> None:
    config = configure("tiny_rlq", *WILD, "teacher_draws=2")
    teach(config, tmp_path)
    seen = []
    for world in (World(), World(0, 2), World(1, 2)):
        with built(config, tmp_path, world) as parts:
            phase, own = parts.state.phases["tad"], []
            for step in range(2 * phase.loader.steps_per_epoch):
                batch = phase.loader.next_batch()
                own.append([*phase._two_views(batch, Moment(step, 0)), batch.taught_2BD.transpose(0, 1)])
            seen.append(own)
    for one, first, second in zip(*seen, strict=True):
        for whole, left, right in zip(one, first, second, strict=True):
            assert torch.equal(whole, torch.cat([left, right]))


def key(config, images: str = "hash") -> str:
    return TaughtSet(config, images, locate("store")).folder.uri


def test_the_place_depends_on_what_the_features_depend_on(configure, tmp_path: Path) -> None:
    plain = key(configure("tiny_rlq", "teacher_draws=2"))
    card, state = read_card(locate(configure("tiny_rlq").teacher)), read_state(locate(configure("tiny_rlq").teacher))
    for name in ("copy", "other"):
        (tmp_path / name).mkdir()
        write_checkpoint(tmp_path / name, card, state)
        state["network"]["identity_head.weight"] += 1e-3
    changes = {
        "augment.flip_probability=0.4",
        "augment.erase_area=[0.1,0.2]",
        "augment.brightness=0.1",
        "data.canvas_width=32",
        "data.decoder=cpu",
        "model.input_height=96",
        "train.precision=bf16",
        f"teacher={tmp_path / 'other'}",
    }
    places = {key(configure("tiny_rlq", "teacher_draws=2", change)) for change in changes}
    places.add(key(configure("tiny_rlq", "teacher_draws=2"), "other images"))
    assert len(places - {plain}) == len(changes) + 1
    for same in ("seed=8", "augment.recolour=false", "loss.weights.feature_lq=2", f"teacher={tmp_path / 'copy'}"):
        assert key(configure("tiny_rlq", "teacher_draws=2", same)) == plain, same
    assert key(configure("tiny_rlq", "teacher_draws=5")) == plain, "each draw has a file of its own there"


def test_a_student_of_another_size_is_refused(configure, teach, tmp_path: Path) -> None:
    config = configure("tiny_rlq", "teacher_draws=1")
    teach(config, tmp_path)
    other = configure("tiny_rlq", "teacher_draws=1", "model.narrow_width=8")
    with pytest.raises(CheckpointError, match=r"has features of size 64, the student of 128"):
        build(other, world=World(), device=CPU, store=locate(tmp_path))


def test_where_no_teacher_is_asked_draws_change_nothing(configure, tmp_path: Path) -> None:
    off = [f"loss.weights.{term}=0" for term in ("feature_hq", "feature_lq")]
    with built(configure("tiny_rlq", "teacher_draws=2", *off), tmp_path) as parts:
        assert parts.state.phases["tad"].loader.next_batch().draw is None
    with built(configure("tiny_base", "teacher_draws=2"), tmp_path) as parts:
        assert set(parts.state.phases) == {"cap"}
    config = configure("tiny_rlq", "teacher_draws=2")
    assert build_config(to_dict(config)) == config
