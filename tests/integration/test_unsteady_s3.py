"""Reads through a line to a real S3 server that is slow, stalled, cut and taken away."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from cluster.object_store import start_object_store
from rlq_ray.errors import NotFoundError, StorageError
from rlq_ray.storage import Patience, RangeReader, attempts, faults, locate, read_bytes, write_bytes
from rlq_ray.storage.handles import Handles
from rlq_ray.storage.s3 import S3Limits, s3_client

CONTENT = os.urandom(3 * 2**20)
CALM = Patience(deadline_s=30, attempt_s=10, hedge_s=10)


class Line:
    """A TCP relay to a server; whether and how much flows is for the test to say."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server, self._flows = server, threading.Event()
        self._flows.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._stalled: set[socket.socket] = set()
        self.cuts_left, self.cut_after_bytes = 0, 0
        self.delay_s = 0.0
        self._door = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def stall_open_connections(self) -> None:
        """Let nothing through any more on the connections that are open now; new ones work."""
        self._stalled.update(client for client, _ in self._pairs)

    def stall_everything(self) -> None:
        self._flows.clear()

    def flow_again(self) -> None:
        self._flows.set()

    def cut_answers(self, count: int, after_bytes: int) -> None:
        """Reset the next connections once so much of an answer has come through."""
        self.cuts_left, self.cut_after_bytes = count, after_bytes

    def close(self) -> None:
        self._flows.set()
        self._stalled.clear()
        for end in (self._door, *(end for pair in self._pairs for end in pair)):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._door.accept()[0]
                server = socket.create_connection(self._server)
                self._pairs.append((client, server))
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(source, sink, client, server), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, client: socket.socket, server: socket.socket) -> None:
        answered_bytes = 0
        with contextlib.suppress(OSError):
            while part := source.recv(2**16):
                self._flows.wait()
                while client in self._stalled:
                    time.sleep(0.01)
                if sink is server:
                    time.sleep(self.delay_s)
                elif self.cuts_left:
                    answered_bytes += len(part)
                    if answered_bytes > self.cut_after_bytes:
                        self.cuts_left -= 1
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        break
                sink.sendall(part)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        client.close()


def new_attempts(before: set[threading.Thread]) -> int:
    return sum(thread.name == "rlq-attempt" for thread in set(threading.enumerate()) - before)


@pytest.fixture
def place(s3_uri):
    place = locate(s3_uri) / "shard"
    write_bytes(place, CONTENT)
    return place


@pytest.fixture
def line(s3_store, place, monkeypatch):
    """A line to the server that holds `place`; readers made in the test go by it."""
    host, _, port = s3_store.endpoint.removeprefix("http://").partition(":")
    line = Line((host, int(port)))
    monkeypatch.setenv("AWS_ENDPOINT_URL", line.endpoint)
    place.filesystem()  # boto3 needs a moment to see that the endpoint is another
    yield line
    line.close()


@pytest.mark.parametrize(
    ("start", "size"),
    [(0, 10), (5, 768 * 1024), (0, len(CONTENT)), (len(CONTENT) - 7, 100), (len(CONTENT), 5), (2**40, 5), (3, 0)],
)
def test_a_range_is_what_the_object_holds(place, start, size):
    assert RangeReader(CALM).read(place, start, size) == CONTENT[start : start + size]


def test_many_threads_read_through_one_reader(place):
    reader = RangeReader(CALM)
    starts = [7919 * number for number in range(128)]
    with ThreadPoolExecutor(16) as pool:
        parts = list(pool.map(lambda start: reader.read(place, start, 30_000), starts))
    assert parts == [CONTENT[start : start + 30_000] for start in starts]
    counts = reader.counts()
    assert (counts.requests, counts.retries, counts.hedges, counts.bytes) == (128, 0, 0, 128 * 30_000)
    assert counts.seconds > 0


def test_the_size_is_told(place):
    reader = pickle.loads(pickle.dumps(RangeReader(CALM)))
    assert reader.size(place) == len(CONTENT)


@pytest.mark.parametrize(
    "use", [lambda reader, place: reader.read(place, 0, 9), lambda reader, place: reader.size(place)]
)
def test_what_is_missing_is_told_at_once(s3_store, place, use):
    reader = RangeReader(CALM)
    for missing in (locate(f"{place}-none"), locate("s3://no-such-bucket/a")):
        with pytest.raises(NotFoundError, match=f"^{missing} does not exist: check the address$"):
            use(reader, missing)
    assert reader.counts().retries == 0


def test_an_object_that_was_deleted_while_it_was_open_is_missing(place):
    reader = RangeReader(CALM)
    reader.read(place, 0, 9)
    place.filesystem().delete_file(place.path)
    with pytest.raises(NotFoundError):
        reader.read(place, 0, 9)


def test_a_stalled_connection_is_overtaken(place, line):
    line.delay_s = 0.1
    with ThreadPoolExecutor(4) as pool:  # as many connections, which are kept: a hedge must not take one of them
        list(pool.map(lambda start: RangeReader(CALM).read(place, start, 9), range(4)))
    line.delay_s = 0.0
    line.stall_open_connections()
    reader = RangeReader(Patience(deadline_s=30, attempt_s=10, hedge_s=0.1))
    assert reader.read(place, 11, 768 * 1024) == CONTENT[11 : 11 + 768 * 1024]
    assert (reader.counts().hedges, reader.counts().retries) == (1, 0)


def test_a_stalled_attempt_is_cut_and_made_again(place, line):
    reader = RangeReader(Patience(deadline_s=30, attempt_s=0.3, hedge_s=10))
    reader.read(place, 0, 9)
    line.stall_open_connections()
    assert reader.read(place, 11, 9000) == CONTENT[11:9011]
    assert (reader.counts().hedges, reader.counts().retries) == (0, 1)


def test_a_store_that_is_silent_for_a_while_is_waited_for(place, line):
    reader = RangeReader(Patience(deadline_s=30, attempt_s=0.3, hedge_s=0.1))
    before = set(threading.enumerate())
    line.stall_everything()
    with ThreadPoolExecutor(8) as pool:
        parts = [pool.submit(reader.read, place, start, 9000) for start in range(8)]
        while new_attempts(before) < 16:  # each has asked twice
            time.sleep(0.01)
        line.flow_again()
        assert [part.result() for part in parts] == [CONTENT[start : start + 9000] for start in range(8)]
    assert reader.counts().hedges >= 8


def test_an_answer_that_is_cut_in_the_middle_is_asked_for_again(place, line):
    reader = RangeReader(CALM)
    line.cut_answers(2, after_bytes=200_000)
    assert reader.read(place, 11, 2**20) == CONTENT[11 : 11 + 2**20]
    assert reader.counts().retries == 2
    assert line.cuts_left == 0


def test_a_slow_line_is_not_loaded_with_hedges(place, line):
    reader = RangeReader(Patience(deadline_s=30, attempt_s=10, hedge_s=0.03))
    reader.size(place)
    line.delay_s = 0.06
    for _ in range(12):
        reader.read(place, 0, 9)
    hedges = reader.counts().hedges
    for _ in range(6):
        reader.read(place, 0, 9)
    assert reader.counts().hedges == hedges > 0


def test_a_whole_file_survives_a_hiccup(place, line):
    line.cut_answers(5, after_bytes=100)  # more than pyarrow tries by itself
    assert read_bytes(place) == CONTENT
    line.cut_answers(5, after_bytes=100)
    write_bytes(place, b"new")
    assert (read_bytes(place), line.cuts_left) == (b"new", 0)


def test_handles_are_few_and_belong_to_a_client(place):
    client, other = s3_client("rlq"), s3_client("rlq", S3Limits(max_attempts=1, lanes=2))
    handles = Handles(2)
    first = handles.open(place.path, client, 0)
    assert (handles.open(place.path, client, 0), first.size) == (first, len(CONTENT))
    assert handles.open(place.path, other, 0) is not first
    first = handles.open(place.path, other, 0)
    handles.drop(place.path, 0)
    assert handles.open(place.path, other, 0) is not first
    first = handles.open(place.path, other, 1)
    for number in range(2):
        write_bytes(locate(f"{place}-{number}"), b"x")
        handles.open(f"{place.path}-{number}", other, 1)
    assert handles.open(place.path, other, 1) is not first


def test_a_client_is_built_beside_threads_that_read_all_the_time(place, line):
    reader, is_built = RangeReader(CALM), threading.Event()
    line.delay_s = 0.05  # so that there is always a request under way

    def read_on(start: int) -> int:
        count = 0
        while not is_built.is_set():
            count += reader.read(place, start, 9) == CONTENT[start : start + 9]
        return count

    def build() -> None:
        for seconds in range(3):
            s3_client("rlq", S3Limits(connect_s=100.0 + seconds))

    with ThreadPoolExecutor(17) as pool:
        counts = [pool.submit(read_on, start) for start in range(16)]
        try:
            pool.submit(build).result(timeout=20)
        finally:
            is_built.set()
    assert all(count.result() for count in counts)


def test_after_the_deadline_the_error_says_what_was_tried(place, line):
    reader = RangeReader(Patience(deadline_s=0.7, attempt_s=0.2, hedge_s=0.1))
    line.stall_everything()
    bucket, _, key = place.path.partition("/")
    cause, effort = r"(no answer within 0\.\d+ s|AWS Error [^;]*)", r"\(\d+ tries in 0\.7 s\)"
    expected = rf"^cannot read '{key}' of the bucket '{bucket}': {cause} {effort}; check the store and the network$"
    with pytest.raises(StorageError, match=expected):
        reader.read(place, 0, 9)
    counts = reader.counts()
    assert counts.requests == 1 + counts.retries + counts.hedges
    assert counts.retries >= 1
    assert counts.hedges >= 1


def test_no_thread_stays_behind(place, line, monkeypatch):
    monkeypatch.setattr(attempts, "IDLE_S", 0.05)
    before = set(threading.enumerate())
    reader = RangeReader(Patience(deadline_s=0.5, attempt_s=0.2, hedge_s=0.1))
    reader.read(place, 0, 9)
    line.stall_everything()
    with pytest.raises(StorageError):
        reader.read(place, 0, 9)
    assert new_attempts(before), "those that were given up last on for a while"
    for _ in range(1000):
        if not new_attempts(before):
            break
        time.sleep(0.02)
    assert not new_attempts(before)


def test_a_server_that_comes_back_within_the_deadline_loses_no_read(service_folder, monkeypatch):
    store = start_object_store(service_folder / "restarted")
    try:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        place = locate(store.uri) / "shard"
        write_bytes(place, CONTENT)
        reader = RangeReader(Patience(deadline_s=100, attempt_s=2, hedge_s=0.5))
        reader.read(place, 0, 9)
        with ThreadPoolExecutor(4) as pool:
            store.stop(grace_s=0.5)
            parts = [pool.submit(reader.read, place, start, 768 * 1024) for start in range(8)]
            store = start_object_store(service_folder / "restarted", port=store.ports[0])
            assert [part.result() for part in parts] == [CONTENT[start : start + 768 * 1024] for start in range(8)]
        assert reader.counts().retries >= 4
    finally:
        store.stop(grace_s=0.5)


@pytest.mark.parametrize("is_silent", [True, False], ids=["silent", "down"])
def test_reads_under_way_end_when_they_are_abandoned(place, line, monkeypatch, is_silent):
    """They wait for an answer (of attempts and hedges), or pause before the next try since they are refused at once."""
    monkeypatch.setattr(faults, "FIRST_PAUSE_S", 40.0)
    reader = RangeReader(Patience(deadline_s=60, attempt_s=40, hedge_s=0.05))
    assert reader.read(place, 11, 9) == CONTENT[11:20]
    if is_silent:
        line.stall_everything()
    else:
        line.close()
    with ThreadPoolExecutor(8) as pool:
        reads = [pool.submit(reader.read, place, start, 9) for start in range(4)]
        reads += [pool.submit(reader.size, locate(f"{place}-{number}")) for number in range(4)]
        time.sleep(0.5)  # by now all have asked
        for _ in range(50):  # ends long before what is waited for does
            reader.abandon()
            if not wait(reads, timeout=0.1).not_done:
                break
        assert all(read.done() for read in reads)
    for read in reads:
        with pytest.raises(StorageError, match=rf"^cannot read {place}.*: given up: the reader was closed$"):
            read.result()
    assert reader.counts().requests == (17 if is_silent else 9), "with hedges, or none since all pause"
    reader.abandon()  # none is under way


def test_who_abandons_reads_can_read_on(place, line):
    reader = RangeReader(CALM)
    reader.read(place, 0, 9)
    line.stall_everything()
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(reader.read, place, 0, 9)
        while not read.done():  # it may not have begun yet
            reader.abandon()
            time.sleep(0.01)
        with pytest.raises(StorageError, match="the reader was closed"):
            read.result()
    line.flow_again()
    assert reader.read(place, 5, 9) == CONTENT[5:14]
