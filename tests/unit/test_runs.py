"""A run goes on with the settings that it was begun with, and with no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlq_ray.config.load import build_config, to_dict
from rlq_ray.distributed.runs import claim_name
from rlq_ray.errors import UsageError
from rlq_ray.storage import locate

PLAIN = {"data": {"target": "shards"}, "schedule": {"tad_steps": 0}}
STAGES = [{"from_epoch": 2, "learning_rate": 0.1, "weights": {"pose": 2}}]


def settings(stages: list[dict]) -> dict:
    return to_dict(build_config(PLAIN | {"stages": stages}))


@pytest.mark.parametrize("stages", [[], STAGES])
def test_goes_on_with_the_same_settings(tmp_path: Path, stages: list[dict]) -> None:
    store = locate(tmp_path)
    begun = claim_name(store, "run", settings(stages), resume=False)
    assert claim_name(store, "run", settings(stages), resume=True) == begun


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ([], STAGES, r"stages\.0\.from_epoch"),
        (STAGES, [], r"stages\.0\.from_epoch"),
        (STAGES, [STAGES[0] | {"learning_rate": 0.2}], r"stages\.0\.learning_rate"),
        (STAGES, [STAGES[0] | {"weights": {}}], r"stages\.0\.weights\.pose"),
    ],
)
def test_refuses_other_stages(tmp_path: Path, before: list[dict], after: list[dict], named: str) -> None:
    store = locate(tmp_path)
    claim_name(store, "run", settings(before), resume=False)
    with pytest.raises(UsageError, match=f"was started with another '{named}': resume it with the same"):
        claim_name(store, "run", settings(after), resume=True)
