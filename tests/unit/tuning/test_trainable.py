import json

import pytest

from tuning.trainable import END, Common, train_in_actor


def test_a_training_whose_worker_runs_other_code_fails_and_says_so():
    """Not tried again, as an error of Tune's trainable would be."""
    common = Common({}, "file:///nowhere", None, (), on_gpu=False, package="ab" * 32)
    end = json.loads(train_in_actor({"changes": {}, "seed": 0, "own": {"run": "r"}}, common, pytest.fail)[END])
    assert end["state"] == "failed"
    assert "imports other code than was submitted" in end["reason"]
