"""The phases put the losses together as published; the losses themselves have tests of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipelines.recipe import RECIPES
from rlq_ray.augment import NUM_PAIRS
from rlq_ray.collectives import World
from rlq_ray.config.load import load_recipe
from rlq_ray.data import EXTERNAL_PREFIX
from rlq_ray.losses import (
    batch_hard_triplet,
    clothes_adversarial,
    cosine_disentangle,
    feature_distance,
    label_smoothed_cross_entropy,
    logit_agreement,
    positives_of,
)
from rlq_ray.phases import Moment
from rlq_ray.train.build import Parts, build
from rlq_ray.train.checkpoint import CheckpointCard, write_checkpoint

CPU = torch.device("cpu")
STILL = [
    "augment.flip_probability=0",
    "augment.enlarge_probability=0",
    "augment.erase_probability=0",
    "augment.brightness=0",
    "loss.clothes_from_epoch=0",
]
"""Settings under which a view is the image itself, so that a test can make it again."""


def make(recipe: str, tiny_people, *overrides: str, teacher: Path | None = None) -> Parts:
    settings = [f"data.target={tiny_people.shards['target']}"]
    if teacher:
        settings += [f"data.external={tiny_people.shards['external']}", f"teacher={teacher}"]
    return build(load_recipe(RECIPES / f"{recipe}.toml", [*settings, *overrides]), world=World(), device=CPU)


def change_augmentation(phase, **settings: float) -> None:
    phase._views = replace(phase._views, augment=phase._views.augment.model_copy(update=settings))


@pytest.fixture(scope="module")
def teacher(tiny_people, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    parts = make("tiny_base", tiny_people, f"data.target={tiny_people.shards['external']}", "seed=5")
    config = load_recipe(RECIPES / "tiny_base.toml", ["data.target=x"])
    write_checkpoint(folder, CheckpointCard(config, parts.split.classes, "", 0, 0), parts.state.state_dict())
    parts.close()
    return folder


@pytest.fixture
def parts(tiny_people, teacher: Path) -> Iterator[Parts]:
    made = make("tiny_rlq", tiny_people, *STILL, teacher=teacher)
    made.state.network.eval()  # one forward is then like another
    yield made
    made.close()


def test_tad_is_the_sum_of_its_published_terms(parts: Parts) -> None:
    phase = parts.state.phases["tad"]
    batch = phase.loader.next_batch()
    terms = phase.losses(batch, Moment(step=0, epoch=0))
    clean, degraded = phase._two_views(batch, Moment(0, 0))
    torch.testing.assert_close(clean, parts.augmenter.test(batch.image_BCHW), rtol=0, atol=1e-5)
    assert (clean - degraded).abs().mean() > 0.01
    teacher_clothes, teacher_identity = phase.teacher(clean)
    hq, lq = parts.state.network(clean), parts.state.network(degraded)
    expected = {
        "feature_hq": feature_distance(teacher_clothes, hq.clothes_BD)
        + feature_distance(teacher_identity, hq.identity_BD),
        "feature_lq": feature_distance(teacher_clothes, lq.clothes_BD)
        + feature_distance(teacher_identity, lq.identity_BD),
        "agreement_lq": logit_agreement(lq.identity_BP, hq.identity_BP)
        + logit_agreement(lq.identity_clothes_BP, hq.identity_clothes_BP),
    }
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_cap_is_the_sum_of_its_published_terms(parts: Parts) -> None:
    phase = parts.state.phases["cap"]
    batch = phase.loader.next_batch()
    weight_before = phase.clothes.classifier.weight.detach().clone()
    terms = phase.losses(batch, Moment(0, 0))
    image, labels = phase._with_copies(batch, Moment(0, 0))
    out = parts.state.network(image, with_pose=True)
    identity_of_clothes = phase.clothes._identity_of_clothes_C
    expected = {
        "identity_clothes": label_smoothed_cross_entropy(out.identity_clothes_BP, labels.identity_B),
        "identity": label_smoothed_cross_entropy(out.identity_BP, labels.identity_B),
        "agreement": logit_agreement(out.identity_clothes_BP, out.identity_BP),
        "triplet": batch_hard_triplet(out.identity_BD, labels.identity_B),
        "gender": label_smoothed_cross_entropy(out.gender_B2, labels.gender_B),
        "pose": label_smoothed_cross_entropy(out.pose_BK, labels.pose_B),
        "disentangle": cosine_disentangle(out.identity_BD, out.pose_BD),
        # against the classifier just updated, with the weight that the recipe sets
        "clothes_adversarial": 0.1
        * clothes_adversarial(
            phase.clothes.classifier(out.clothes_BD),
            labels.clothes_B,
            positives_of(identity_of_clothes, labels.identity_B),
        ),
    }
    assert not torch.equal(phase.clothes.classifier.weight, weight_before)
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_cal_is_the_sum_of_its_published_terms(tiny_people) -> None:
    alone = ["model.single_branch=true", "model.pose_branch=false", "model.gender_head=false", "schedule.tad_steps=0"]
    off = ["loss.weights.triplet=0", "augment.recolour=false"]
    made = make("tiny_base", tiny_people, *STILL, *alone, *off)
    made.state.network.eval()
    phase = made.state.phases["cap"]
    batch = phase.loader.next_batch()
    terms = phase.losses(batch, Moment(0, 0))
    out = made.state.network(made.augmenter.test(batch.image_BCHW))
    positive = positives_of(phase.clothes._identity_of_clothes_C, batch.identity_B)
    cosines = phase.clothes.classifier(out.identity_BD)
    made.close()
    expected = {
        "identity": label_smoothed_cross_entropy(out.identity_BP, batch.identity_B),
        "clothes_adversarial": 0.1 * clothes_adversarial(cosines, batch.clothes_B, positive),
    }
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_a_copy_wears_other_clothes_of_the_same_person(parts: Parts) -> None:
    phase = parts.state.phases["cap"]
    batch = phase.loader.next_batch()
    change_augmentation(phase, recolour_originals=0.0)
    image, labels = phase._with_copies(batch, Moment(0, 0))
    half = len(batch)
    num_clothes = len(parts.split.classes.clothes)
    assert torch.equal(labels.clothes_B[:half], batch.clothes_B)
    for name in ("identity_B", "gender_B", "pose_B"):
        assert torch.equal(getattr(labels, name)[half:], getattr(batch, name)), name
    pair_B = labels.clothes_B[half:] - num_clothes - NUM_PAIRS * batch.identity_B
    assert ((pair_B >= 0) & (pair_B < NUM_PAIRS)).all()
    changed = (image[half:] - image[:half]).abs().amax(1) > 0.05
    assert changed.flatten(1).any(1).float().mean() > 0.8
    assert changed.float().mean() < 0.6, "only clothes change"


def test_originals_are_recoloured_as_often_as_asked(parts: Parts) -> None:
    phase = parts.state.phases["cap"]
    change_augmentation(phase, recolour_originals=0.5)
    num_clothes, shares = len(parts.split.classes.clothes), []
    for step in range(40):
        batch = phase.loader.next_batch()
        _, labels = phase._with_copies(batch, Moment(step, 0))
        shares.append((labels.clothes_B[: len(batch)] >= num_clothes).float().mean())
    assert 0.35 < torch.stack(shares).mean() < 0.65


def test_the_adversary_does_not_move_the_classifier(parts: Parts) -> None:
    training = parts.state.clothes
    feat = torch.randn(4, training.classifier.weight.shape[1], requires_grad=True)
    training.classifier.zero_grad()
    training.adversarial_loss(feat, torch.zeros(4, dtype=torch.int64), torch.zeros(4, dtype=torch.int64)).backward()
    assert feat.grad.abs().sum() > 0
    assert training.classifier.weight.grad is None
    training.step(feat, torch.zeros(4, dtype=torch.int64))
    assert training.classifier.weight.grad is not None


def test_the_clothes_join_in_from_their_epoch_on(tiny_people, teacher: Path) -> None:
    made = make("tiny_rlq", tiny_people, "loss.clothes_from_epoch=2", teacher=teacher)
    phase = made.state.phases["cap"]
    early = phase.losses(phase.loader.next_batch(), Moment(0, 1))
    late = phase.losses(phase.loader.next_batch(), Moment(1, 2))
    made.close()
    assert "clothes_adversarial" not in early
    assert "clothes_adversarial" in late


def test_a_weight_of_zero_leaves_a_term_out(tiny_people, teacher: Path) -> None:
    off = [f"loss.weights.{name}=0" for name in ("pose", "disentangle", "triplet", "feature_lq")]
    made = make("tiny_rlq", tiny_people, *off, teacher=teacher)
    names = {name: set(p.losses(p.loader.next_batch(), Moment(0, 0))) for name, p in made.state.phases.items()}
    made.close()
    assert names["cap"] & {"pose", "disentangle", "triplet"} == set()
    assert names["tad"] == {"feature_hq", "agreement_lq"}


def test_the_clothes_agreement_reaches_the_features_when_asked_for(tiny_people, teacher: Path) -> None:
    made = make("tiny_rlq", tiny_people, "loss.weights.agreement_clothes=1", teacher=teacher)
    phase = made.state.phases["tad"]
    assert "agreement_clothes" not in phase.losses(phase.loader.next_batch(), Moment(0, 1))
    terms = phase.losses(phase.loader.next_batch(), Moment(0, 2))
    terms["agreement_clothes"].backward()
    made.close()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in made.state.network.clothes_branch.parameters())
    assert made.state.clothes.classifier.weight.grad is None


def test_without_a_teacher_the_students_own_clean_features_are_held_still(tiny_people) -> None:
    made = make(
        "tiny_base",
        tiny_people,
        *STILL,
        "schedule.tad_steps=1",
        f"data.external={tiny_people.shards['external']}",
        *(f"loss.weights.{name}=0" for name in ("feature_hq", "feature_lq", "agreement_lq")),
        "loss.weights.feature_self=2",
    )
    made.state.network.eval()
    phase = made.state.phases["tad"]
    batch = phase.loader.next_batch()
    terms = phase.losses(batch, Moment(0, 0))
    clean, degraded = (made.state.network(view) for view in phase._two_views(batch, Moment(0, 0)))
    expected = 2 * (
        feature_distance(clean.clothes_BD.detach(), degraded.clothes_BD)
        + feature_distance(clean.identity_BD.detach(), degraded.identity_BD)
    )
    made.close()
    assert terms.keys() == {"feature_self"}
    torch.testing.assert_close(terms["feature_self"], expected, rtol=1e-4, atol=1e-5)
    layer = next(made.state.network.layer2.parameters())
    ours, theirs = (torch.autograd.grad(value, layer)[0] for value in (terms["feature_self"], expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


def test_distilling_on_clean_images_alone_degrades_nothing(tiny_people, teacher: Path) -> None:
    made = make("tiny_rlq", tiny_people, *STILL, "degrade.distil_degraded=false", teacher=teacher)
    phase = made.state.phases["tad"]
    batch = phase.loader.next_batch()
    first, second = phase._two_views(batch, Moment(0, 0))
    made.close()
    assert torch.equal(first, second), "nothing else changes a view here"


def test_target_images_are_degraded_as_often_as_asked_and_keep_their_labels(tiny_people) -> None:
    plain, half = (
        make("tiny_base", tiny_people, *STILL, "augment.recolour=false", f"degrade.target_probability={p}")
        for p in (0, 0.5)
    )
    shares = []
    for step in range(60):
        batch = plain.state.phases["cap"].loader.next_batch()
        (clean, labels), (mixed, mixed_labels) = (
            made.state.phases["cap"]._with_copies(batch, Moment(step, 0)) for made in (plain, half)
        )
        assert torch.equal(labels.identity_B, mixed_labels.identity_B)
        shares.append(((clean - mixed).flatten(1).abs().amax(1) > 0.01).float().mean())
    plain.close()
    half.close()
    assert 0.4 < torch.stack(shares).mean() < 0.6


def test_joint_steps_train_other_classes_of_the_same_heads(tiny_people) -> None:
    made = make(
        "tiny_rlq",
        tiny_people,
        "schedule.external=joint",
        "model.pose_branch=false",
        "model.gender_head=false",
        f"data.external={tiny_people.shards['external']}",
    )
    names = made.split.classes.identities
    num_target = sum(not name.startswith(EXTERNAL_PREFIX) for name in names)
    assert 0 < num_target < len(names)
    assert made.state.network.identity_head.out_features == len(names)
    for name, classes in (("cap", range(num_target)), ("joint", range(num_target, len(names)))):
        phase = made.state.phases[name]
        batch = phase.loader.next_batch()
        assert set(batch.identity_B.tolist()) <= set(classes), name
        worn = phase.clothes._identity_of_clothes_C[batch.clothes_B]
        assert torch.equal(worn, batch.identity_B), "the clothes are those of the identity"
        assert "identity" in phase.losses(batch, Moment(0, 0))
    made.close()
