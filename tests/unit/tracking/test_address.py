import http.server
import threading
from pathlib import Path

import pytest

from rlq_ray.errors import TrackingError
from rlq_ray.tracking.address import default_uri, probe, shown_uri, sqlite_file


def test_default_uri_does_not_depend_on_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert default_uri("data") == f"sqlite:///{tmp_path}/data/mlflow.db"
    assert sqlite_file(default_uri("data")) == tmp_path / "data" / "mlflow.db"


def test_other_stores_have_no_file():
    assert sqlite_file("http://localhost:5000") is None


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:secret@db:5432/runs", "postgresql://me:***@db:5432/runs"),
        ("http://localhost:5000", "http://localhost:5000"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
    ],
)
def test_passwords_are_not_shown(uri, shown):
    assert shown_uri(uri) == shown


def test_probe_makes_the_folder_of_a_file(tmp_path):
    probe(default_uri(tmp_path / "new"))
    assert (tmp_path / "new").is_dir()


def test_probe_refuses_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(
        TrackingError, match=r"cannot make the folder of tracking store .*taken.*: set RLQ_TRACKING_URI"
    ):
        probe(default_uri(tmp_path / "taken"))


def test_probe_refuses_a_folder_in_place_of_the_file(tmp_path):
    Path(sqlite_file(default_uri(tmp_path))).mkdir()
    with pytest.raises(TrackingError, match="cannot write tracking store"):
        probe(default_uri(tmp_path))


def test_probe_finds_that_no_server_answers():
    with pytest.raises(TrackingError, match=r"no tracking server answers at http://127.0.0.1:9 .*: start it") as caught:
        probe("http://127.0.0.1:9")
    assert "\n" not in str(caught.value)


def test_probe_takes_any_answer_for_an_answer():
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)  # answers 501 to GET
    threading.Thread(target=server.handle_request, daemon=True).start()
    probe(f"http://127.0.0.1:{server.server_port}")
    server.server_close()
