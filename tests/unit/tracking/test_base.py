import inspect

import pytest

from rlq_ray.tracking import NullTracker, Tracker

METHODS = [name for name in vars(Tracker) if not name.startswith("_")]


def parameters(owner, name):
    return [(p.name, p.default) for p in inspect.signature(getattr(owner, name)).parameters.values()]


@pytest.mark.parametrize("name", METHODS)
def test_null_tracker_is_called_like_a_tracker(name):
    assert parameters(NullTracker, name) == parameters(Tracker, name)


@pytest.mark.parametrize("name", METHODS)
def test_mlflow_tracker_is_called_like_a_tracker(name):
    from rlq_ray.tracking.mlflow_tracker import MlflowTracker

    assert parameters(MlflowTracker, name) == parameters(Tracker, name)


def test_null_tracker_loses_nothing():
    tracker = NullTracker()
    tracker.log_metrics({"loss": 1.0}, step=0)
    assert tracker.finish("FINISHED") == 0
