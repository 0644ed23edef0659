"""Released weights against an independent network of the published structure."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from rlq_ray.errors import CheckpointError, UsageError
from rlq_ray.models import (
    convert_released,
    load_network,
    name_classes,
    number_classes,
    read_released,
    recolourings_of,
)
from rlq_ray.types import ClassSpace


def images():
    return torch.randn(3, 3, 64, 32, generator=torch.Generator().manual_seed(7))


def network_of(content):
    released = convert_released(content)
    return load_network(released.config, number_classes(released), released.network).eval()


def changed(release, part, **tensors):
    """Copy the content with some tensors replaced, or taken out by None; dots are written as two underscores."""
    state = dict(release.content[part])
    for name, tensor in tensors.items():
        name = name.replace("__", ".")
        state.pop(name, None)
        if tensor is not None:
            state[name] = tensor
    return release.content | {part: state}


def test_finds_three_branches_and_their_sizes(full_release):
    released = convert_released(full_release.content)
    assert (released.config.pose_branch, released.config.gender_head) == (True, False)
    assert (released.config.input_height, released.config.input_width) == (384, 192)
    assert (released.num_identities, released.pose_clusters) == (5, 15)
    assert torch.equal(released.clothes_weight_CD, full_release.clothes)
    assert released.numbers == {"rank1": 0.464, "epoch": 29.0}


def test_finds_the_base_model(base_release):
    released = convert_released(base_release.content)
    assert (released.config.pose_branch, released.config.gender_head, released.pose_clusters) == (False, False, 0)
    assert not [name for name in released.network if "pose" in name]


@torch.no_grad()
@pytest.mark.parametrize("release", ["full_release", "base_release"])
def test_embedding_and_logits_equal_those_of_the_published_network(release, request):
    theirs = request.getfixturevalue(release)
    network = network_of(theirs.content)
    expected = theirs.model.embedding(images())
    assert (expected @ expected.T - torch.eye(3)).max() < 0.9  # images that nobody tells apart would prove nothing
    torch.testing.assert_close(network.embed(images()), expected, rtol=0, atol=1e-5)

    clothes_BD, identity_BD = theirs.model.features(images())
    out = network(images(), with_pose=True)
    close = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(out.clothes_BD, clothes_BD, **close)
    torch.testing.assert_close(out.identity_BD, identity_BD, **close)
    torch.testing.assert_close(out.identity_clothes_BP, theirs.classifier.classifier(clothes_BD), **close)
    torch.testing.assert_close(out.identity_BP, theirs.model.identity_classifier.classifier(identity_BD), **close)
    if release == "full_release":
        torch.testing.assert_close(out.pose_BK, theirs.model.pose_logits(images()), **close)
    assert out.gender_B2 is None


def test_takes_off_what_wrappers_put_in_front_and_knows_other_precisions(base_release):
    parts = ("model_state_dict", "classifier_state_dict", "clothes_classifier_state_dict")
    wrapped = {
        part: {f"module.{name}": tensor for name, tensor in base_release.content[part].items()} for part in parts
    }
    wrapped["classifier_state_dict"] = {name: t.half() for name, t in wrapped["classifier_state_dict"].items()}
    released, plain = convert_released(wrapped), convert_released(base_release.content)
    assert released.numbers == {}
    for name, tensor in plain.network.items():
        assert released.network[name].dtype == tensor.dtype
        exact = tensor.half().float() if name.startswith("identity_clothes_head") else tensor
        assert torch.equal(released.network[name], exact)


def test_needs_no_counts_of_batches(base_release):
    state = {k: t for k, t in base_release.content["model_state_dict"].items() if "num_batches" not in k}
    released = convert_released(base_release.content | {"model_state_dict": state})
    assert released.network["clothes_branch.2.norm.num_batches_tracked"] == 0


CONV = "branch2__0__0__conv1__weight"


@pytest.mark.parametrize(
    ("part", "tensors", "named"),
    [
        ("model_state_dict", {CONV: None}, r"missing: model_state_dict/branch2\.0\.0\.conv1\.weight"),
        ("model_state_dict", {"bn3__running_var": None}, r"missing: model_state_dict/bn3\.running_var"),
        ("model_state_dict", {"gender__weight": torch.ones(2, 9)}, r"unexpected: model_state_dict/gender\.weight"),
        ("model_state_dict", {CONV: torch.ones(3, 3)}, r"branch2\.0\.0\.conv1\.weight \(3, 3\) instead of \(256, 512"),
        ("model_state_dict", {CONV: torch.ones(256, 512, 1, 1).int()}, r"another type: \S+conv1\.weight torch\.int32"),
        ("model_state_dict", {CONV: [1.0]}, r"conv1\.weight' is a list instead of a tensor"),
        ("classifier_state_dict", {"classifier__bias": None}, r"missing: classifier_state_dict/classifier\.bias"),
        ("classifier_state_dict", {"classifier__weight": torch.ones(4, 4096)}, r"\(4, 4096\) instead of \(5, 4096\)"),
        ("clothes_classifier_state_dict", {"weight": None}, "missing: clothes_classifier_state_dict/weight"),
        ("clothes_classifier_state_dict", {"weight": torch.ones(9, 8)}, r"weight \(9, 8\) instead of \(9, 4096\)"),
    ],
)
def test_names_the_tensor_that_does_not_fit(full_release, part, tensors, named):
    with pytest.raises(CheckpointError, match=named):
        convert_released(changed(full_release, part, **tensors))


def test_names_the_pose_branch_if_half_of_it_is_there(base_release):
    content = changed(base_release, "model_state_dict", bn3__bias=torch.zeros(4096))
    with pytest.raises(CheckpointError, match=r"missing: model_state_dict/branch3\.0\.0\.conv1\.weight.* and \d+ more"):
        convert_released(content)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ([1, 2], "a list instead of a dict"),
        ({}, "no dict 'model_state_dict'"),
        ({"model_state_dict": {}, "classifier_state_dict": 3}, "no dict 'classifier_state_dict'"),
    ],
)
def test_refuses_what_is_no_release(content, named):
    with pytest.raises(CheckpointError, match=named):
        convert_released(content)


@pytest.mark.parametrize(("name", "value"), [("optimizer", {"lr": 1}), ("epoch", float("nan")), ("w", torch.ones(2))])
def test_refuses_an_entry_that_is_neither_weights_nor_a_number(base_release, name, value):
    with pytest.raises(CheckpointError, match=f"entry '{name}' is no number but "):
        convert_released(base_release.content | {name: value})


def test_reads_numbers_of_numpy_and_of_torch(tmp_path):
    content = {"rank1": np.float64(0.25), "top5": np.float32(0.5), "epoch": np.int64(3), "w": torch.ones(2)}
    torch.save(content, tmp_path / "a.pth.tar")
    read = read_released(tmp_path / "a.pth.tar")
    assert (read["rank1"], read["top5"], read["epoch"]) == (0.25, 0.5, 3)


def test_reads_what_numpy_1_wrote(tmp_path):
    torch.save({"rank1": np.float64(0.25)}, tmp_path / "a.pth.tar", _use_new_zipfile_serialization=False)
    old = (tmp_path / "a.pth.tar").read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "a.pth.tar").write_bytes(old)
    assert read_released(tmp_path / "a.pth.tar") == {"rank1": 0.25}


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harmed",)


def test_refuses_code_and_does_not_run_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model_state_dict": Harm()}, "code.pth.tar")
    with pytest.raises(CheckpointError, match=r"'code\.pth\.tar' holds more than tensors and numbers \(posix\.mkdir\)"):
        read_released(Path("code.pth.tar"))
    assert not Path("harmed").exists()
    pickle.loads(pickle.dumps(Harm()))  # it would have been able to
    assert Path("harmed").exists()


def test_refuses_a_truncated_or_missing_file(tmp_path):
    whole, part = tmp_path / "whole", tmp_path / "part"
    torch.save({"weight": torch.ones(1000)}, whole)
    part.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=r"part' cannot be read .*: download it again"):
        read_released(part)
    part.write_bytes(b"not a file of torch")
    with pytest.raises(CheckpointError, match=r"part' cannot be read .*: download it again"):
        read_released(part)
    with pytest.raises(UsageError, match="there is no file"):
        read_released(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("rows", "identities", "recolourings"),
    [
        (256, 77, 0),  # LTCC as published: 77 identities in 256 outfits
        (256 + 81 * 77, 77, 81),
        (20208, 632, 0),  # Celeb-reID: every image its own outfit
        (20208 + 81 * 632, 632, 81),
        (20000 + 36 * 5000, 5000, 36),  # LaST, whose recolourings have six colours
    ],
)
def test_tells_recoloured_rows_from_outfits(rows, identities, recolourings):
    assert recolourings_of(rows, identities) == recolourings


def test_numbers_classes_without_a_data_set(full_release):
    classes = number_classes(convert_released(full_release.content))
    assert classes.identities == ("0", "1", "2", "3", "4")
    assert len(classes.clothes) == 9
    assert set(classes.identity_of_clothes) == {-1}
    assert classes.pose_clusters == 15


def test_refuses_fewer_clothes_than_identities(base_release):
    released = convert_released(changed(base_release, "clothes_classifier_state_dict", weight=torch.ones(4, 4096)))
    with pytest.raises(CheckpointError, match="has 4 rows for 5 identities: expected one for each of C outfits"):
        number_classes(released)


def space(names, clothes_of):
    clothes = sorted((outfit, place) for place, name in enumerate(names) for outfit in clothes_of(name))
    return ClassSpace(tuple(names), tuple(c for c, _ in clothes), tuple(p for _, p in clothes), pose_clusters=0)


def two_outfits(name):
    return [f"{name}_{outfit}" for outfit in (["1"] if name == "1" else ["1", "10"])]


def test_names_classes_in_the_order_of_the_rows(full_release):
    released = convert_released(full_release.content)
    trained_on = space(["1", "10", "100", "2", "3"], two_outfits)
    celeb = name_classes(released, trained_on, layout="celeb", source="x")
    assert celeb.identities == ("100", "10", "1", "2", "3")  # as '100_…' stands before '10_…' among file names
    assert celeb.clothes[:3] == ("100_10", "100_1", "10_10")
    assert celeb.identity_of_clothes == (0, 0, 1, 1, 2, 3, 3, 4, 4)
    ltcc = name_classes(released, trained_on, layout="ltcc", source="x")
    assert ltcc.identities == ("1", "2", "3", "10", "100")
    assert ltcc.clothes[:3] == ("100_1", "100_10", "10_1")
    assert ltcc.identity_of_clothes[:3] == (4, 4, 3)
    assert name_classes(released, trained_on, layout="generic", source="x").identities == trained_on.identities
    assert celeb.pose_clusters == 15


def test_refuses_the_names_of_another_data_set(full_release):
    released = convert_released(full_release.content)
    with pytest.raises(CheckpointError, match="mine has 4 training identities, the weights 5"):
        name_classes(released, space(["1", "2", "3", "4"], two_outfits), layout="ltcc", source="mine")
    one_more = space(["2", "3", "4", "5", "6"], two_outfits)
    with pytest.raises(
        CheckpointError, match=r"has 414 rows, but the 10 outfits of mine make 10, or with recolourings 415 \(LaST: 190"
    ):
        name_classes(released, one_more, layout="ltcc", source="mine")
