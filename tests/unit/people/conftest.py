from __future__ import annotations

from dataclasses import replace

import pytest

from rlq_ray.people.presets import PRESETS, Preset


@pytest.fixture(scope="session")
def preset() -> Preset:
    return replace(PRESETS["tiny"], name="test", train_identities=2, test_identities=3)
