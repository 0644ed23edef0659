"""Places on a mounted disk; the same functions on S3 are tested with a real server."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from rlq_ray.errors import StorageError, UsageError
from rlq_ray.storage import (
    delete_file,
    exists,
    list_files,
    locate,
    probe_writable,
    read_bytes,
    read_json,
    write_bytes,
    write_json,
)


def test_paths_and_uris_name_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locate("a/b").uri == f"file://{tmp_path}/a/b"
    assert locate(f"file://{tmp_path}/a%20b").path == f"{tmp_path}/a b"
    assert locate("~/x").path == str(Path.home() / "x")
    place = locate("s3://bucket/some/prefix/")
    assert (place.uri, place.path, place.is_local) == ("s3://bucket/some/prefix", "bucket/some/prefix", False)
    assert (place / "file.json").uri == "s3://bucket/some/prefix/file.json"
    assert pickle.loads(pickle.dumps(place)) == place


@pytest.mark.parametrize(("uri", "message"), [("gs://b/x", "use a path, file"), ("s3://", "names no bucket")])
def test_other_addresses_are_refused(uri, message):
    with pytest.raises(UsageError, match=message):
        locate(uri)


def test_bytes_and_json_come_back(tmp_path):
    place = locate(tmp_path) / "new" / "folder" / "a.json"
    assert not exists(place)
    write_json(place, {"b": [1, 2], "a": "é"})
    assert exists(place)
    assert read_json(place) == {"a": "é", "b": [1, 2]}
    write_bytes(place, b"no json")
    assert read_bytes(place) == b"no json"
    with pytest.raises(StorageError, match="is not JSON"):
        read_json(place)
    assert [path.name for path in Path(place.path).parent.iterdir()] == ["a.json"]


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"none\.bin does not exist"):
        read_bytes(locate(tmp_path) / "none.bin")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(StorageError, match="cannot write"):
        write_bytes(locate(tmp_path / "file" / "below"), b"new")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_files_are_listed_and_deleted(tmp_path):
    folder = locate(tmp_path / "from")
    assert list_files(folder) == []
    for name in ("b.txt", "sub/a.txt", "c.bin"):
        write_bytes(folder / name, name.encode())
    assert [place.uri.removeprefix(folder.uri) for place in list_files(folder, ".txt")] == ["/b.txt", "/sub/a.txt"]
    for _ in range(2):  # the second time there is nothing left to delete
        delete_file(folder / "c.bin")
        assert not exists(folder / "c.bin")


def test_an_unwritable_folder_is_found_out(tmp_path):
    (tmp_path / "file").write_bytes(b"in the way")
    with pytest.raises(StorageError, match="check that it is writable"):
        probe_writable(locate(tmp_path / "file" / "below"))


def test_a_writable_folder_is_left_as_it_was(tmp_path):
    probe_writable(locate(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_s3_without_credentials_says_so(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StorageError, match="no S3 credentials: set AWS_ACCESS_KEY_ID"):
        read_bytes(locate("s3://bucket/file"))
