"""The node's cache: shared by processes, bounded, and never believed without a check."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from rlq_ray.data.disk_cache import DiskCache, default_folder
from rlq_ray.errors import UsageError

BOUND = 1000


def sound(content: bytes) -> bool:
    return len(set(content)) == 1


def hold(folder: Path, name: str) -> int:
    """Take one file as a process of its own, and say how often the store was asked."""
    asked = []

    def fetch() -> bytes:
        asked.append(name)
        return b"x" * 100

    DiskCache(folder, "s3://bucket/set", BOUND).get(name, fetch, sound)
    return len(asked)


def refuse() -> bytes:
    raise AssertionError("the store was asked")


def test_a_file_is_fetched_once(tmp_path):
    cache = DiskCache(tmp_path, "s3://bucket/set", BOUND)
    assert cache.get("a-0", lambda: b"x" * 100, sound) == b"x" * 100
    assert DiskCache(tmp_path, "s3://bucket/set", BOUND).get("a-0", refuse, sound) == b"x" * 100
    with pytest.raises(AssertionError):  # another data set's
        DiskCache(tmp_path, "s3://bucket/other", BOUND).get("a-0", refuse, sound)


def test_processes_of_a_node_fetch_once_together(tmp_path):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert sum(pool.starmap(hold, [(tmp_path, "a-0")] * 8)) == 1


def test_the_bound_holds_and_the_latest_used_stay(tmp_path):
    cache = DiskCache(tmp_path, "s3://bucket/set", BOUND)
    for number in range(9):
        cache.get(f"a-{number}", lambda: b"x" * 100, sound)
        os.utime(next(tmp_path.glob(f"*/a-{number}.rows")), (number, number))
    cache.get("a-0", refuse, sound)  # used just now
    for number in (9, 10):
        cache.get(f"a-{number}", lambda: b"x" * 100, sound)
    kept = {path.stem for path in tmp_path.glob("*/*.rows")}
    assert {"a-0", "a-9", "a-10"} <= kept
    assert not {"a-1", "a-2"} & kept
    assert len(kept) == 9


def test_a_damaged_file_is_fetched_again(tmp_path):
    cache = DiskCache(tmp_path, "s3://bucket/set", BOUND)
    cache.get("a-0", lambda: b"x" * 100, sound)
    file = next(tmp_path.glob("*/a-0.rows"))
    file.write_bytes(b"xy")
    assert cache.get("a-0", lambda: b"z" * 100, sound) == b"z" * 100
    assert file.read_bytes() == b"z" * 100


def test_what_a_failed_fetch_leaves_is_nothing(tmp_path):
    cache = DiskCache(tmp_path, "s3://bucket/set", BOUND)
    with pytest.raises(AssertionError):
        cache.get("a-0", refuse, sound)
    assert not list(tmp_path.glob("*/*a-0*"))
    assert cache.get("a-0", lambda: b"x", sound) == b"x"


def test_shards_that_left_the_data_set_leave_the_disk(tmp_path):
    cache = DiskCache(tmp_path, "s3://bucket/set", BOUND)
    for name in ("aa-0", "aa-1-masks", "bb-0"):
        cache.get(name, lambda: b"x", sound)
    cache.retain({"bb"})
    assert [path.name for path in tmp_path.glob("*/*.rows")] == ["bb-0.rows"]


def test_a_disk_that_is_full_stops_nothing(tmp_path, monkeypatch):
    cache = DiskCache(tmp_path, "s3://bucket/set", BOUND)

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_space)
    with pytest.warns(RuntimeWarning, match="No space left on device.*: free space there, or set RLQ_CACHE"):
        assert cache.get("a-0", lambda: b"x", sound) == b"x"
    assert cache.get("a-1", lambda: b"y", sound) == b"y"  # said once


def test_the_folder_is_the_users_or_named(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.delenv("RLQ_CACHE", raising=False)
    assert default_folder() == Path("/somewhere/rlq")
    monkeypatch.setenv("RLQ_CACHE", str(tmp_path))
    assert default_folder() == tmp_path


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written \(.*\): set RLQ_CACHE .* or data.disk_cache_mb=0"):
        DiskCache(tmp_path / "file", "s3://bucket/set", BOUND)
