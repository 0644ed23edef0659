"""`rlq models import` as a user calls it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator

import pytest
import torch

from pipelines.cli import main
from pipelines.recipe import read_experiment
from pipelines.train import preflight
from rlq_ray.data import DataSet, class_space
from rlq_ray.storage import locate
from rlq_ray.train.checkpoint import STATE_FILE, read_card, read_network, read_state

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch, capsys, tmp_path) -> Iterator[Call]:
    """Call `rlq` in this process, in `tmp_path`: status, stdout, stderr. The folder goes, as weights are large."""

    def run(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["rlq", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    yield run
    shutil.rmtree(tmp_path)


def trained_on(release, identities, clothes_rows):
    """Give a release other heads, as if it had been trained on a data set of this size."""
    head = {"weight": torch.randn(identities, 4096), "bias": torch.randn(identities)}
    model = release.content["model_state_dict"] | {f"identity_classifier.classifier.{k}": t for k, t in head.items()}
    return release.content | {
        "model_state_dict": model,
        "classifier_state_dict": {f"classifier.{name}": tensor for name, tensor in head.items()},
        "clothes_classifier_state_dict": {"weight": torch.randn(clothes_rows, 4096)},
    }


@torch.no_grad()
def test_makes_a_checkpoint_of_the_same_model(full_release, call, tmp_path, tiny_people):
    torch.save(full_release.content, tmp_path / "best.pth.tar")
    status, out, err = call("models", "import", "--authors", "best.pth.tar", "--out", "models/authors", "--json")
    assert status == 0, err
    place = locate(tmp_path / "models" / "authors")
    assert json.loads(out) == {
        "checkpoint": place.uri,
        "branches": ["clothes", "identity", "pose"],
        "identities": 5,
        "pose_clusters": 15,
        "clothes_rows": 414,
        "outfits": 9,
        "recolourings": 81,
        "data": None,
        "rank1": 0.464,
        "epoch": 29.0,
    }
    network, card = read_network(place)
    image = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(network.embed(image), full_release.model.embedding(image), rtol=0, atol=1e-5)
    assert torch.equal(read_state(place)["clothes"]["classifier"]["weight"], full_release.clothes)
    assert (card.config.name, card.epoch, card.metrics["rank1"]) == ("cap", 29, 0.464)

    sources = [f"data.{role}={tiny_people.shards[role]}" for role in ("target", "external")]
    assert set(preflight(read_experiment("rlq", [*sources, f"teacher={place.uri}"]))) == {"target", "external"}
    status, _, err = call("evaluate", place.uri)
    assert (status, "name one to measure on by --data URI" in err) == (2, True)


def test_names_the_classes_of_the_data_set_and_says_what_was_found(base_release, call, tmp_path, tiny_people):
    data = tiny_people.shards["target"]
    index = DataSet.open(data).index
    classes = class_space(index, index.rows_of_split("train"), pose_clusters=0)
    torch.save(trained_on(base_release, len(classes.identities), len(classes.clothes)), tmp_path / "base.pth.tar")
    status, out, err = call("models", "import", "--authors", "base.pth.tar", "--out", "base", "--data", data)
    assert status == 0, err
    assert out.splitlines() == [
        f"branches clothes, identity: {len(classes.identities)} identities",
        f"clothes classifier of {len(classes.clothes)} rows: {len(classes.clothes)} outfits",
        "epoch 29, counted from 0",
        "rank 1 as the authors measured it: 46.4 %",
        f"checkpoint {locate(tmp_path / 'base').uri}",
        f"next: rlq evaluate {locate(tmp_path / 'base').uri} --data {locate(data).uri}",
    ]
    imported = read_card(locate(tmp_path / "base"))
    assert (imported.classes.identities, imported.classes.clothes) == (classes.identities, classes.clothes)
    assert (imported.config.name, imported.config.data.target) == ("base", locate(data).uri)


def test_every_wrong_step_gives_one_line_and_leaves_no_checkpoint(base_release, call, tmp_path, tiny_people):
    torch.save(base_release.content, tmp_path / "base.pth.tar")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("years of work")
    (tmp_path / "text.pth.tar").write_text("no weights")
    data = tiny_people.shards["target"]
    for arguments, named in (
        (["--authors", "nothing", "--out", "new"], "there is no file 'nothing'"),
        (["--authors", "text.pth.tar", "--out", "new"], "'text.pth.tar' cannot be read"),
        (["--authors", "base.pth.tar", "--out", "new", "--data", data], "training identities, the weights 5"),
        (["--authors", "base.pth.tar", "--out", "new", "--data", "nowhere"], "no data set at"),
        (["--authors", "base.pth.tar", "--out", "taken"], "thesis.txt"),
    ):
        status, out, err = call("models", "import", *arguments)
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert (status, out, len(errors)) == (2, "", 1), err
        assert named in errors[0]
    assert not (tmp_path / "new").exists()
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["thesis.txt"]


def test_writes_again_what_was_cut_off_and_nothing_else(base_release, call, tmp_path):
    torch.save(base_release.content, tmp_path / "base.pth.tar")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / STATE_FILE).write_text("half a")
    arguments = ("models", "import", "--authors", "base.pth.tar", "--out", "new")
    assert call(*arguments)[0] == 0
    read_network(locate(tmp_path / "new"))
    status, _, err = call(*arguments)
    assert (status, "is taken" in err) == (2, True)
