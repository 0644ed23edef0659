"""An outcome comes back whole; half of one is none, and one of other settings is another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipelines.outcomes import CARD_FILE, SCORES_FILE, find_outcome, keep_outcome, outcome_folder
from rlq_ray.storage import locate


def test_comes_back_whole(made_up, tmp_path: Path) -> None:
    kept = made_up.outcomes["rlq"][1]
    folder = outcome_folder(locate(tmp_path), "rlq", 1, kept.key)
    assert find_outcome(folder) is None
    keep_outcome(folder, kept)
    found = find_outcome(folder)
    assert found is not None
    assert replace(found, evaluation=kept.evaluation) == kept
    arrays = found.evaluation.to_arrays()
    assert arrays.keys() == kept.evaluation.to_arrays().keys()
    for name, array in kept.evaluation.to_arrays().items():
        np.testing.assert_array_equal(arrays[name], array)


def test_scores_without_a_card_are_none(made_up, tmp_path: Path) -> None:
    keep_outcome(locate(tmp_path), made_up.outcomes["base"][0])
    (tmp_path / CARD_FILE).unlink()
    assert (tmp_path / SCORES_FILE).exists()
    assert find_outcome(locate(tmp_path)) is None


def test_outcomes_of_other_settings_lie_beside_each_other(made_up, tmp_path: Path) -> None:
    one, other = made_up.outcomes["base"][:2]
    folders = [outcome_folder(locate(tmp_path), "base", 0, own.key) for own in (one, other)]
    keep_outcome(folders[0], one)
    before = find_outcome(folders[0])
    keep_outcome(folders[1], other)
    after = find_outcome(folders[0])
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(before.evaluation["hq", "cc"].ranking.ap_Q, after.evaluation["hq", "cc"].ranking.ap_Q)
