"""`rlq_ray.storage` against a real S3 server."""

from __future__ import annotations

import threading
import time

import pytest

from rlq_ray import storage
from rlq_ray.errors import StorageError
from rlq_ray.storage import files, locate


@pytest.fixture
def place(s3_uri):
    return locate(s3_uri)


def check_one_line(caught):
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value) or ":" in str(caught.value)


def test_gives_back_what_was_written(place):
    storage.write_bytes(place / "a/b.bin", bytes(range(256)))
    assert storage.read_bytes(place / "a/b.bin") == bytes(range(256))
    storage.write_bytes(place / "a/b.bin", b"")
    assert storage.read_bytes(place / "a/b.bin") == b""


def test_gives_back_what_takes_several_parts(place):
    content = b"0123456789abcdef" * 2**20  # 16 MiB: more than one part of an upload
    storage.write_bytes(place / "large", content)
    assert storage.read_bytes(place / "large") == content


def test_json_round_trip(place):
    storage.write_json(place / "m.json", {"rows": 3, "name": "Jürgen"})
    assert storage.read_json(place / "m.json") == {"rows": 3, "name": "Jürgen"}


def test_json_that_is_replaced_all_the_time_is_one_or_the_other(place):
    short, long = {"a": 1}, {"a": 1, "b": "x" * 2000}
    storage.write_json(place / "m.json", short)
    is_enough = threading.Event()

    def replace_it() -> None:
        while not is_enough.is_set():
            storage.write_json(place / "m.json", long)
            storage.write_json(place / "m.json", short)

    writer = threading.Thread(target=replace_it)
    writer.start()
    try:
        read = [storage.read_json(place / "m.json") for _ in range(300)]
    finally:
        is_enough.set()
        writer.join()
    assert all(value in (short, long) for value in read)


def test_lists_files_below_a_folder(place):
    for name in ("b/2.txt", "a/1.txt", "a/1.bin"):
        storage.write_bytes(place / name, b"x")
    assert storage.list_files(place, ".txt") == [place / "a/1.txt", place / "b/2.txt"]
    assert storage.list_files(place / "none") == []


def test_knows_what_exists(place):
    storage.write_bytes(place / "a/1.txt", b"x")
    assert storage.exists(place / "a/1.txt")
    assert storage.exists(place / "a")
    assert not storage.exists(place / "b")


def test_probe_leaves_nothing_behind(place):
    storage.probe_writable(place)
    assert storage.list_files(place) == []


def test_says_which_object_is_missing(place):
    with pytest.raises(StorageError, match=r"none\.json does not exist: check the address") as caught:
        storage.read_json(place / "none.json")
    check_one_line(caught)


def test_says_that_a_bucket_is_missing(s3_store):
    with pytest.raises(StorageError, match="no-such-bucket/a does not exist") as caught:
        storage.read_bytes(locate("s3://no-such-bucket/a"))
    check_one_line(caught)


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
@pytest.mark.parametrize(
    "use",
    [
        lambda place: storage.read_bytes(place),
        lambda place: storage.write_bytes(place, b"x"),
        lambda place: storage.list_files(place),
        lambda place: storage.exists(place),
    ],
    ids=["read", "write", "list", "exists"],
)
def test_wrong_credentials_are_refused_in_one_line(place, monkeypatch, name, use):
    storage.write_bytes(place / "a", b"x")
    monkeypatch.setenv(name, "wrong")
    with pytest.raises(StorageError, match=r"cannot (read|write|list|reach) s3://.*: .*; check") as caught:
        use(place / "a")
    check_one_line(caught)


@pytest.mark.parametrize(
    "use",
    [lambda place: storage.read_bytes(place), lambda place: storage.write_bytes(place, b"x")],
    ids=["read", "write"],
)
def test_an_endpoint_that_is_down_is_told_in_bounded_time(s3_store, place, monkeypatch, use):
    monkeypatch.setattr(files, "HICCUP_S", 1.0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    began_s = time.monotonic()
    with pytest.raises(StorageError) as caught:
        use(place / "a")
    assert time.monotonic() - began_s < 60  # a bound, not a speed: retries must end
    check_one_line(caught)
