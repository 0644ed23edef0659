"""A checkpoint in S3, written at once and once."""

from __future__ import annotations

import pytest
import torch

from pipelines.recipe import read_experiment
from rlq_ray.errors import UsageError
from rlq_ray.models import ReIDNetwork
from rlq_ray.storage import locate
from rlq_ray.train.checkpoint import CheckpointCard, put_checkpoint, read_network
from rlq_ray.types import ClassSpace


def test_puts_a_checkpoint_into_s3_once(s3_uri: str) -> None:
    config = read_experiment("tiny_base", ["data.target=x"])
    classes = ClassSpace(("a", "b"), ("a1", "b1"), (0, 1), pose_clusters=5)
    network = ReIDNetwork(config.model, classes).eval()
    card = CheckpointCard(config, classes, "", epoch=0, step=0)
    place = locate(f"{s3_uri}/model")
    put_checkpoint(place, card, {"network": network.state_dict()})
    again, read = read_network(place)
    image = torch.rand(2, 3, 64, 32)
    assert read == card
    assert torch.equal(again.embed(image), network.embed(image))
    with pytest.raises(UsageError, match="is taken"):
        put_checkpoint(place, card, {"network": {}})
