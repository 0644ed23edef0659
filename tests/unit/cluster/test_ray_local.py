from pathlib import Path

import pytest

from cluster.ray_local import session
from rlq_ray.errors import ServiceError, UsageError


def test_refuses_a_folder_whose_name_is_too_long_for_sockets():
    folder = Path("/tmp") / ("x" * 60)
    with pytest.raises(UsageError, match="has 65 characters: Ray needs one of at most 40"), session(temp_dir=folder):
        pass


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9"])
def test_says_that_no_cluster_answers(address, monkeypatch):
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # as it is in a process of its own
    refused = pytest.raises(ServiceError, match=rf"no Ray cluster answers at '{address}' .*: start it")
    with refused as caught, session(address):
        pass
    assert "\n" not in str(caught.value)
