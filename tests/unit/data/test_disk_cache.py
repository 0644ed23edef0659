"""The node's cache: shared by processes, bounded, and never believed without a check."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
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
        time.sleep(0.2)  # so that the others come meanwhile
        return b"x" * 100

    DiskCache(folder, "s3://bucket/set", BOUND).get(name, fetch, sound)
    return len(asked)


def meet(barrier: Barrier) -> None:
    """Let no process begin before all have started."""
    barrier.wait(timeout=60)


def refuse() -> bytes:
    raise AssertionError("the store was asked")


def test_a_file_is_fetched_once(tmp_path):
    cache = DiskCache(tmp_path, "s3://bucket/set", BOUND)
    assert cache.get("a-0", lambda: b"x" * 100, sound) == b"x" * 100
    assert DiskCache(tmp_path, "s3://bucket/set", BOUND).get("a-0", refuse, sound) == b"x" * 100
    with pytest.raises(AssertionError):  # another data set's
        DiskCache(tmp_path, "s3://bucket/other", BOUND).get("a-0", refuse, sound)


def test_processes_of_a_node_fetch_once_together(tmp_path):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, context, initializer=meet, initargs=(context.Barrier(4),)) as pool:
        assert sum(pool.map(hold, [tmp_path] * 8, ["a-0"] * 8)) == 1


def test_a_fetch_that_stalls_holds_up_nobody_else(tmp_path):
    cache = DiskCache(tmp_path, "s3://bucket/set", 10**6)
    has_begun, goes_on = threading.Event(), threading.Event()

    def stall() -> bytes:
        has_begun.set()
        assert goes_on.wait(20)
        return b"x"

    with ThreadPoolExecutor(2) as pool:
        stalled = pool.submit(cache.get, "a-0", stall, sound)
        assert has_begun.wait(20)
        names = [f"b-{number}" for number in range(2000)]  # some would share one of a few hundred locks
        others = pool.submit(lambda: [cache.get(name, lambda: b"y", sound) for name in names])
        try:
            assert set(others.result(timeout=15)) == {b"y"}
        finally:
            goes_on.set()
        assert stalled.result() == b"x"
    assert not list((tmp_path / "locks").iterdir())


def test_parts_of_killed_writers_are_counted_and_swept(tmp_path):
    cache = DiskCache(tmp_path, "s3://bucket/set", BOUND)
    cache.get("a-0", lambda: b"x" * 100, sound)
    own = next(tmp_path.glob("*/a-0.rows")).parent
    killed, busy = own / ".b-0.rows.0123abcd", own / ".b-1.rows.4567abcd"
    for part in (killed, busy):
        part.write_bytes(b"x" * 400)
    os.utime(killed, (1, 1))
    cache.get("a-1", lambda: b"x" * 100, sound)  # 1000 with the parts: at the bound
    assert not killed.exists()
    os.utime(own / "a-0.rows", (2, 2))
    for number in range(2, 7):
        cache.get(f"a-{number}", lambda: b"x" * 100, sound)
    assert busy.exists()
    assert {path.stem for path in own.glob("*.rows")} == {f"a-{number}" for number in range(2, 7)}


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
    (own,) = {path.parent for path in tmp_path.glob("*/*.rows")}
    (own / ".aa-2.rows.0123abcd").write_bytes(b"x")  # left by a writer that was killed
    cache.retain({"bb"})
    assert [path.name for path in own.iterdir()] == ["bb-0.rows"]


def test_a_disk_that_is_full_stops_nothing(tmp_path, monkeypatch):
    cache = DiskCache(tmp_path, "s3://bucket/set", BOUND)

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_space)
    with pytest.warns(RuntimeWarning, match="No space left on device.*: free space there, or set RLQ_CACHE"):
        assert cache.get("a-0", lambda: b"x", sound) == b"x"
    assert cache.get("a-1", lambda: b"y", sound) == b"y"  # said once


def test_a_folder_that_was_removed_is_made_again(tmp_path):
    cache = DiskCache(tmp_path / "cache", "s3://bucket/set", BOUND)
    for _ in range(2):
        shutil.rmtree(tmp_path / "cache")
        assert cache.get("a-0", lambda: b"x", sound) == b"x"
        assert cache.get("a-0", refuse, sound) == b"x"


def test_locks_that_are_refused_stop_nothing(tmp_path):
    cache = DiskCache(tmp_path, "s3://bucket/set", BOUND)
    cache.get("a-0", lambda: b"x", sound)
    (tmp_path / "locks").rmdir()
    (tmp_path / "locks").write_text("")
    assert cache.get("a-0", refuse, sound) == b"x"
    with pytest.warns(RuntimeWarning, match="cannot keep row groups .*: free space there, or set RLQ_CACHE"):
        assert cache.get("a-1", lambda: b"y", sound) == b"y"
    assert cache.get("a-1", lambda: b"z", sound) == b"z"  # said once
    with pytest.raises(AssertionError, match="the store was asked"):
        cache.get("a-1", refuse, sound)


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
