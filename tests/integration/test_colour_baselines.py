"""The colour baselines on ingested people: the same images, the same degradation, the right people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.colour_baselines import colour_baselines, colour_features
from pipelines.recipe import read_experiment
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.data import DataSet
from rlq_ray.degrade import Degrader, draw_for_rows
from rlq_ray.errors import DataError, UsageError
from rlq_ray.people import PRESETS
from rlq_ray.people.again import IdentityJob, render_identity
from rlq_ray.people.colour_histograms import COLOUR_BASELINES

if TYPE_CHECKING:  # pytest would take a class of this name for tests
    from pipelines.evaluate import TestFeatures


@pytest.fixture(scope="module")
def config(tiny_people) -> ExperimentConfig:
    return read_experiment("tiny_base", [f"data.target={tiny_people.shards['target']}", "evaluate.degrade_seed=11"])


@pytest.fixture(scope="module")
def features(tiny_people, config: ExperimentConfig, ray_cluster: object) -> dict[str, TestFeatures]:
    return colour_features(tiny_people.shards["target"], config, "tiny", population="target", seed=0)


def test_measures_every_baseline_in_every_quality_and_protocol(
    tiny_people, config: ExperimentConfig, ray_cluster: object
) -> None:
    evaluations = colour_baselines(tiny_people.shards["target"], config, "tiny")
    assert evaluations.keys() == COLOUR_BASELINES.keys()
    for evaluation in evaluations.values():
        for quality in ("hq", "lq"):
            for protocol in config.evaluate.protocols:
                assert evaluation[quality, protocol].intervals.keys() >= {"mAP", "top1"}
    person = evaluations["person colours"]
    worn, changed = (person["hq", protocol].metrics for protocol in ("sc", "cc"))
    assert worn.mean_ap - worn.chance_map > 2 * abs(changed.mean_ap - changed.chance_map)


def test_refuses_other_people_and_another_canvas(tiny_people, config: ExperimentConfig, ray_cluster: object) -> None:
    uri = tiny_people.shards["target"]
    with pytest.raises(DataError, match=r"\.png is not an image that this preset, population and seed render"):
        colour_baselines(uri, config, "tiny", seed=1)
    with pytest.raises(DataError, match="render and ingest it again"):
        colour_baselines(uri, config, "tiny", population="external")
    with pytest.raises(UsageError, match="there is no preset 'huge'"):
        colour_baselines(uri, config, "huge")
    with pytest.raises(UsageError, match=r"set data\.canvas_height=256 data\.canvas_width=128"):
        colour_baselines(uri, config, "hard")


@pytest.mark.parametrize("name", COLOUR_BASELINES)
def test_features_are_of_the_files_and_of_their_degraded_versions(
    name: str, tiny_people, config: ExperimentConfig, features: dict[str, TestFeatures]
) -> None:
    dataset = DataSet.open(tiny_people.shards["target"])
    own, size = features[name], torch.tensor([[128, 64]])
    for place, row in enumerate(own.query_rows.tolist()):
        stem = Path(dataset.index.source[row]).stem
        (file,) = tiny_people.folders["target"].rglob(f"query/{stem}.png")
        image = np.asarray(Image.open(file))
        label = render_identity(IdentityJob(PRESETS["tiny"], "target", 0, int(dataset.index.identity[row])))[
            stem
        ].label_HW
        draw = draw_for_rows(torch.tensor([row]), config.degrade, 11)
        degraded = Degrader(config.degrade)(torch.tensor(image).permute(2, 0, 1)[None], draw, size)[0]
        expected = {"hq": image, "lq": degraded.permute(1, 2, 0).numpy()}
        assert (expected["hq"] != expected["lq"]).any()
        for quality, shown in expected.items():
            assert np.array_equal(own.query_feats[quality][place], COLOUR_BASELINES[name](shown, label))
    assert len(own.gallery_feat_GD) == len(own.gallery_rows) == len(own.gallery)
