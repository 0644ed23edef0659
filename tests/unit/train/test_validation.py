from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.train import preflight
from rlq_ray.collectives import World
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.data import evaluation_rows, ingest
from rlq_ray.errors import UsageError
from rlq_ray.evaluate import diagnose, evaluate_features
from rlq_ray.train.build import Parts, build
from rlq_ray.train.features import Embedding, labels_of
from rlq_ray.train.loop import Plan, StepRecord, fit
from rlq_ray.train.state import TrainState
from rlq_ray.train.validation import Validation

CPU = torch.device("cpu")


class Metrics:
    """Keeps what each evaluation measured."""

    def __init__(self) -> None:
        self.measured: list[Mapping[str, float]] = []

    def after_step(self, record: StepRecord) -> None: ...

    def after_epoch(self, state: TrainState, epoch: int, metrics: Mapping[str, float], *, is_best: bool) -> None:
        self.measured.append(metrics)


def open_validation(config: ExperimentConfig) -> tuple[Validation, Parts]:
    parts = build(config, world=World(), device=CPU)
    return Validation(parts, Embedding.of(config, parts.augmenter, CPU), config.evaluate, World()), parts


def train(config: ExperimentConfig) -> tuple[list[Mapping[str, float]], TrainState]:
    validation, parts = open_validation(config)
    metrics = Metrics()
    plan = Plan(parts.timeline, config.staged_optimizer, config.train, validation.select_on, CPU)
    fit(parts.state, plan, validation, metrics)
    parts.close()
    return metrics.measured, parts.state


def test_the_test_curve_is_there_only_where_it_is_asked_for(configure) -> None:
    without, with_curve = (
        open_validation(configure("tiny_base", f"evaluate.test_curve={on}"))[0]() for on in ("false", "true")
    )
    assert not [name for name in without if name.startswith("test_curve")]
    assert {name: value for name, value in with_curve.items() if not name.startswith("test_curve")} == without
    wanted = {f"test_curve/{q}/{p}/{m}" for q in ("hq", "lq") for p in ("general", "cc") for m in ("mAP", "top1")}
    assert wanted <= set(with_curve)


def test_the_test_curve_changes_neither_weights_nor_the_choice(configure) -> None:
    (plain, plain_state), (noted, noted_state) = (
        train(configure("tiny_base", "train.epochs=3", f"evaluate.test_curve={on}")) for on in ("false", "true")
    )
    for name, tensor in plain_state.network.state_dict().items():
        assert torch.equal(tensor, noted_state.network.state_dict()[name]), name
    assert plain_state.best == noted_state.best
    chosen = [metrics["validation/hq/cc/mAP"] for metrics in noted]
    assert chosen == [metrics["validation/hq/cc/mAP"] for metrics in plain]
    assert noted_state.best.score == max(chosen)
    assert len({metrics["test_curve/hq/cc/mAP"] for metrics in noted}) > 1


def test_the_test_curve_goes_on_where_nothing_is_validated(configure) -> None:
    validation, _ = open_validation(configure("tiny_base", "data.validation_fraction=0", "evaluate.test_curve=true"))
    metrics = validation()
    assert validation.select_on == "latest/step"
    assert metrics["latest/step"] == 0
    assert 0 < metrics["test_curve/hq/cc/mAP"] <= 1


def test_a_data_set_without_test_images_is_refused_before_and_in_the_training(
    configure, tiny_people, tmp_path: Path
) -> None:
    lines = ["path,split,pid,camera,clothes"]
    for file in sorted(tiny_people.folders["target"].glob("**/train/*.png")):
        pid, outfit, camera, _ = file.stem.split("_")
        shutil.copy(file, tmp_path)
        lines.append(f"{file.name},train,{pid},{camera.removeprefix('c')},{pid}_{outfit}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    ingest(tmp_path, "generic", tmp_path / "shards", name="no-test")
    plain = ("augment.recolour=false", f"data.target={tmp_path / 'shards'}")
    assert open_validation(configure("tiny_base", *plain))[0].select_on == "validation/hq/cc/mAP"
    config = configure("tiny_base", *plain, "evaluate.test_curve=true")
    message = r"evaluate\.test_curve is on, but the data set 'no-test' has no split 'query': set evaluate\.test_curve"
    with pytest.raises(UsageError, match=message):
        preflight(config)
    with pytest.raises(UsageError, match=message):
        open_validation(config)


def test_the_test_curve_is_what_an_evaluation_of_the_test_identities_finds(configure) -> None:
    config = configure("tiny_base", "evaluate.test_curve=true")
    validation, parts = open_validation(config)
    metrics = validation()
    query_rows, gallery_rows = evaluation_rows(parts.target.index, "test")
    embedding = Embedding.of(config, parts.augmenter, CPU)
    query_QD, degraded_QD, gallery_GD = (
        embedding.rows(parts.state.network, parts.target, np.asarray(rows), quality).numpy()
        for rows, quality in ((query_rows, "hq"), (query_rows, "lq"), (gallery_rows, "hq"))
    )
    expected = evaluate_features(
        {"hq": query_QD, "lq": degraded_QD},
        gallery_GD,
        *labels_of(parts.target.index, query_rows, gallery_rows),
        protocols=["general", "cc"],
        bootstrap_samples=0,
    )
    for quality in ("hq", "lq"):
        for protocol in ("general", "cc"):
            for name, value in expected[quality, protocol].values().items():
                assert metrics[f"test_curve/{quality}/{protocol}/{name}"] == pytest.approx(value), name


def test_gradients_are_compared_at_every_evaluation_of_two_phases(configure) -> None:
    names = {"diagnostics/gradient_cosine", "diagnostics/gradient_norm_ratio"}
    for metrics in train(configure("tiny_rlq"))[0]:
        assert names <= set(metrics)
        assert -1 < metrics["diagnostics/gradient_cosine"] < 1
        assert metrics["diagnostics/gradient_norm_ratio"] > 0
    for metrics in train(configure("tiny_base"))[0]:
        assert not names & set(metrics)


def test_diagnostics_are_measured_where_queries_are_degraded(configure) -> None:
    metrics = open_validation(configure("tiny_base"))[0]()
    found = {name: value for name, value in metrics.items() if name.startswith("diagnostics/")}
    assert set(found) >= {f"diagnostics/silhouette_{name}" for name in ("quality", "identity")}
    assert found["diagnostics/lq_neighbour_share_chance"] == 0.5
    assert all(-1 <= value <= 1 for value in found.values())
    without = open_validation(configure("tiny_base", 'evaluate.qualities=["hq"]'))[0]()
    assert {**without, **found} == {name: value for name, value in metrics.items() if "/lq/" not in name} | found


def test_diagnostics_are_those_of_the_validation_identities(configure) -> None:
    config = configure("tiny_base")
    validation, parts = open_validation(config)
    metrics = validation()
    rows, index = parts.split.validation_rows, parts.target.index
    embedding = Embedding.of(config, parts.augmenter, CPU)
    hq_ND, lq_ND = (
        embedding.rows(parts.state.network, parts.target, rows, quality).numpy() for quality in ("hq", "lq")
    )
    expected = diagnose(hq_ND, lq_ND, labels_of(index, rows, rows)[0], index.gender[rows], "cc")
    assert any(name.endswith("wrong_same_gender") for name in expected), "genders are known"
    for name, value in expected.items():
        assert metrics[f"diagnostics/{name}"] == pytest.approx(value, abs=1e-5), name
