"""The servers and the Ray session that tests and the local stack use."""

from __future__ import annotations

import urllib.request

import pytest
import ray

from cluster.mlflow_server import start_mlflow_server
from cluster.ray_local import session
from rlq_ray.errors import ServiceError


def test_ray_runs_a_task(ray_cluster):
    assert ray_cluster.is_own
    assert ray.get(ray.remote(lambda: 1 + 1).remote()) == 2


def test_ray_workers_know_the_object_store(ray_cluster, s3_store):
    seen = ray.get(ray.remote(lambda: __import__("os").environ["AWS_ENDPOINT_URL"]).remote())
    assert seen == s3_store.endpoint


def test_a_second_session_joins_and_leaves_the_first_running(ray_cluster):
    with session() as joined:
        assert not joined.is_own
        assert joined.address == ray_cluster.address
    assert ray.is_initialized()


def test_ray_demands_its_token(ray_cluster):
    import os

    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(os.environ["RAY_AUTH_TOKEN"]) >= 32


def test_mlflow_server_serves_its_ui(mlflow_server):
    with urllib.request.urlopen(mlflow_server.uri, timeout=10) as page:
        assert "MLflow" in page.read().decode()


def test_mlflow_server_refuses_a_taken_port(mlflow_server, tmp_path):
    port = int(mlflow_server.uri.rpartition(":")[2])
    with pytest.raises(ServiceError, match=f"cannot listen on 127.0.0.1:{port} .*: give another port"):
        start_mlflow_server(f"sqlite:///{tmp_path}/m.db", tmp_path, tmp_path / "log", port=port)


def test_keys_of_the_object_store_are_the_owners_alone(s3_store, service_folder):
    assert (service_folder / "s3" / "keys.json").stat().st_mode & 0o777 == 0o600
