"""An outcome comes back whole, and a half-written or an outdated one is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipelines.outcomes import CARD_FILE, find_outcome, keep_outcome, outcome_folder
from rlq_ray.storage import locate


def test_comes_back_whole(made_up, tmp_path: Path) -> None:
    folder = outcome_folder(locate(tmp_path), "made-up", "rlq", 1)
    kept = made_up.outcomes["rlq"][1]
    assert find_outcome(folder, kept.key) is None
    keep_outcome(folder, kept)
    found = find_outcome(folder, kept.key)
    assert found is not None
    assert (found.row, found.seed, found.epoch, found.hardware, found.curves) == (
        kept.row, kept.seed, kept.epoch, kept.hardware, kept.curves,
    )  # fmt: skip
    assert found.evaluation.to_arrays().keys() == kept.evaluation.to_arrays().keys()
    for name, array in kept.evaluation.to_arrays().items():
        np.testing.assert_array_equal(found.evaluation.to_arrays()[name], array)


def test_one_of_other_settings_or_without_its_card_is_none(made_up, tmp_path: Path) -> None:
    folder = locate(tmp_path)
    kept = made_up.outcomes["base"][0]
    keep_outcome(folder, kept)
    assert find_outcome(folder, "another key") is None
    (tmp_path / CARD_FILE).unlink()
    assert find_outcome(folder, kept.key) is None
