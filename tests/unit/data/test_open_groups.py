"""Row groups in memory: fetched once, bounded, ahead of time, and again after a failure."""

from __future__ import annotations

import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rlq_ray.data.open_groups import GroupKey, OpenGroups

A, B, C = (GroupKey(number, masks=False) for number in range(3))


class Store:
    """Gives ten bytes per row group and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[GroupKey] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fails = False

    def __call__(self, key: GroupKey) -> bytes:
        self.asked.append(key)
        assert self.gate.wait(20)
        if self.fails:
            raise OSError("away")
        return bytes([key.group]) * 10


@pytest.fixture
def store() -> Store:
    return Store()


def test_many_threads_make_one_request(store):
    groups = OpenGroups(store, 100)
    store.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(groups.get, A) for _ in range(8)]
        store.gate.set()
        assert {answer.result() for answer in answers} == {bytes(10)}
    assert store.asked == [A]


def test_the_one_used_longest_ago_gives_way(store):
    groups = OpenGroups(store, 20)
    for key in (A, B, A, C, A, B):
        groups.get(key)
    assert store.asked == [A, B, C, B]
    assert len(groups) == 2


def test_one_is_held_even_if_it_is_too_large(store):
    groups = OpenGroups(store, 5)
    assert groups.get(B) == groups.get(B) == b"\x01" * 10
    assert store.asked == [B]


def test_a_requested_one_is_there_and_a_released_one_is_gone(store):
    groups = OpenGroups(store, 100)
    with ThreadPoolExecutor(1) as pool:
        groups.request(A, pool)
        groups.request(A, pool)
    assert store.asked == [A]
    groups.get(A)
    groups.release(A)
    groups.release(B)
    groups.get(A)
    assert store.asked == [A, A]


def test_a_failure_reaches_everybody_and_is_not_kept(store):
    groups = OpenGroups(store, 100)
    store.fails = True
    for _ in range(2):
        with pytest.raises(OSError, match="away"):
            groups.get(A)
    store.fails = False
    assert groups.get(A) == bytes(10)


def test_who_waits_for_a_reader_that_was_closed_reads_itself(store):
    groups = OpenGroups(store, 100)
    store.gate.clear()
    with ThreadPoolExecutor(1) as readers, ThreadPoolExecutor(1) as waiters:
        groups.request(A, readers)
        groups.request(B, readers)  # stands in line behind A
        waiting = waiters.submit(groups.get, B)
        readers.shutdown(wait=False, cancel_futures=True)
        store.gate.set()
        assert waiting.result(timeout=20) == b"\x01" * 10


def test_a_pool_that_is_closed_leaves_nobody_waiting(store):
    groups = OpenGroups(store, 100)
    closed = ThreadPoolExecutor(1)
    closed.shutdown()
    with pytest.raises(RuntimeError):
        groups.request(A, closed)
    assert len(groups) == 0  # or the next line would wait for ever
    assert groups.get(A) == bytes(10)


def test_many_threads_keep_the_bound(store):
    groups = OpenGroups(store, 200)

    def use(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(500):
            key = GroupKey(chance.randrange(100), masks=False)
            assert groups.get(key) == bytes([key.group]) * 10
            if chance.random() < 0.5:
                groups.release(key)

    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads get in between everywhere
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(use, range(8)))
    finally:
        sys.setswitchinterval(usual_s)
    assert len(groups) <= 20
    for number in range(100, 140):
        groups.get(GroupKey(number, masks=False))
    assert len(groups) == 20  # neither more nor fewer: what is counted is what is held
