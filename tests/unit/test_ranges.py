"""Ranges of files on a mounted disk, the threads that make attempts, and what faults are taken for."""

from __future__ import annotations

import errno
import pickle
import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from rlq_ray.errors import NotFoundError, StorageError
from rlq_ray.storage import Patience, RangeReader, attempts, locate
from rlq_ray.storage.attempts import AttemptThreads
from rlq_ray.storage.faults import LONGEST_PAUSE_S, Fault, fault_of, pauses_s, reason_of

CONTENT = bytes(range(256)) * 40


def address_of(view: memoryview) -> int:
    return int(np.frombuffer(view, dtype=np.uint8).ctypes.data)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "shard").write_bytes(CONTENT)
    return locate(tmp_path / "shard")


@pytest.mark.parametrize(
    ("start", "size"),
    [(0, 10), (5, 9000), (0, len(CONTENT)), (len(CONTENT) - 7, 100), (len(CONTENT), 5), (2**40, 5), (3, 0)],
)
def test_a_range_is_what_the_file_holds(place, start, size):
    assert RangeReader().read(place, start, size) == CONTENT[start : start + size]


def test_a_reader_counts_and_pickles_as_its_patience(place):
    reader = RangeReader(Patience(attempt_s=2))
    assert reader.size(place) == len(CONTENT)
    for size in (10, 20):
        reader.read(place, 0, size)
    counts = reader.counts()
    assert (counts.requests, counts.retries, counts.hedges, counts.bytes) == (2, 0, 0, 30)
    assert counts.seconds > 0
    copy = pickle.loads(pickle.dumps(reader))
    assert copy.counts().requests == 0
    assert copy.read(place, 1, 2) == CONTENT[1:3]


def test_what_was_read_stays_as_it_is_while_anybody_looks_and_its_memory_is_used_again_after(tmp_path):
    content = bytes(range(256)) * 4096
    (tmp_path / "large").write_bytes(content)
    reader, place = RangeReader(), locate(tmp_path / "large")
    first, second = reader.read(place, 0, 600_000), reader.read(place, 1, 600_000)
    part, address = first[:3], address_of(first)
    del first
    third = reader.read(place, 2, 600_000)
    assert (bytes(part), second == content[1:600_001], third == content[2:600_002]) == (b"\0\1\2", True, True)
    assert len({address, address_of(second), address_of(third)}) == 3
    del part
    assert address_of(reader.read(place, 3, 600_000)) == address
    with pytest.raises(TypeError, match="read-only"):
        third[0] = 1


@pytest.mark.parametrize("use", [lambda reader, at: reader.read(at, 0, 1), lambda reader, at: reader.size(at)])
def test_a_missing_file_is_named(tmp_path, use):
    with pytest.raises(NotFoundError, match=r"none does not exist: check the address$"):
        use(RangeReader(), locate(tmp_path / "none"))


def test_what_cannot_be_read_is_told(tmp_path):
    with pytest.raises(StorageError, match=r"^cannot read .*: Is a directory; check the disk and the permissions$"):
        RangeReader().read(locate(tmp_path), 0, 1)


@pytest.mark.parametrize(("start", "size"), [(-1, 5), (0, -5)])
def test_negative_numbers_are_refused(place, start, size):
    with pytest.raises(ValueError, match="give numbers from 0 on"):
        RangeReader().read(place, start, size)


def test_no_file_stays_open(place):
    reader = RangeReader()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for start in range(50):
        reader.read(place, start, 1)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_attempts_run_side_by_side_in_threads_that_are_taken_up_again_and_end(monkeypatch):
    monkeypatch.setattr(attempts, "IDLE_S", 0.2)
    threads, meeting, used = AttemptThreads(), threading.Barrier(5), []

    def meet() -> None:
        used.append(threading.current_thread())
        meeting.wait(timeout=10)  # all run at once, or none gets through

    for _ in range(2):
        for _ in range(4):
            threads.start(meet)
        meeting.wait(timeout=10)
        time.sleep(0.05)
    assert len(used) == 8
    assert len(set(used)) == 4
    for thread in used:
        thread.join(timeout=10)
        assert not thread.is_alive()
    is_done = threading.Event()
    threads.start(is_done.set)  # they are gone: a new one is made
    assert is_done.wait(timeout=10)


def test_pauses_grow_to_a_bound():
    pauses = list(islice(pauses_s(), 20))
    assert 0.05 <= pauses[0] <= 0.1
    assert all(LONGEST_PAUSE_S / 2 <= pause <= LONGEST_PAUSE_S for pause in pauses[7:])
    assert len(set(pauses)) == 20


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (FileNotFoundError(errno.ENOENT, "Path does not exist 'b/k'"), Fault.ABSENT),
        (OSError("When opening 'k': AWS Error NO_SUCH_BUCKET during GetObject operation: none"), Fault.ABSENT),
        (OSError("AWS Error ACCESS_DENIED during HeadObject operation: No response body."), Fault.REFUSED),
        (
            OSError("AWS Error UNKNOWN (HTTP status 400) during GetObject operation: Unable to parse: ExpiredToken"),
            Fault.REFUSED,
        ),
        (OSError("AWS Error UNKNOWN (HTTP status 400) during UploadPart operation: RequestTimeout"), Fault.PASSING),
        (OSError("AWS Error SLOW_DOWN during GetObject operation: Please reduce your request rate."), Fault.PASSING),
        (OSError("AWS Error UNKNOWN (HTTP status 500) during HeadObject operation: No response body."), Fault.PASSING),
        (TimeoutError("no answer within 20 s"), Fault.PASSING),
    ],
)
def test_faults_are_told_apart(error, fault):
    assert fault_of(error) is fault


def test_a_reason_is_one_line_without_the_address():
    error = OSError("When reading information for key 'k' in bucket 'b': AWS Error X during Y operation:\n gone.")
    assert reason_of(error) == "AWS Error X during Y operation: gone"
