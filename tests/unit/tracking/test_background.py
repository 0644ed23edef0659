import threading
import time

import pytest

from rlq_ray.tracking.background import POINTS_PER_WRITE, BackgroundWriter
from rlq_ray.tracking.base import MetricPoint


class AwayError(Exception):
    """A failure that may pass."""


def is_passing(error):
    return isinstance(error, AwayError)


def points(count, start=0):
    return [MetricPoint("loss", float(i), i) for i in range(start, start + count)]


def steps(batches):
    return [[point.step for point, _ in batch] for batch in batches]


def test_writes_points_and_jobs_in_order():
    seen = []
    writer = BackgroundWriter(lambda batch: seen.extend(p.step for p, _ in batch), is_passing)
    writer.put_points(points(2))
    writer.put_job(lambda: seen.append("job"))
    writer.put_points(points(2, start=2))
    assert writer.close(timeout_s=10) == 0
    assert seen == [0, 1, "job", 2, 3]


def test_merges_waiting_points_up_to_one_request():
    batches, may_go = [], threading.Event()
    writer = BackgroundWriter(batches.append, is_passing)
    writer.put_job(may_go.wait)
    for i in range(POINTS_PER_WRITE + 1):
        writer.put_points(points(1, start=i))
    may_go.set()
    assert writer.close(timeout_s=10) == 0
    assert [len(batch) for batch in batches] == [POINTS_PER_WRITE, 1]


def test_stamps_points_when_they_come():
    batches = []
    before_ms = time.time_ns() // 1_000_000
    writer = BackgroundWriter(batches.append, is_passing)
    writer.put_points(points(1))
    writer.close(timeout_s=10)
    assert before_ms <= batches[0][0][1] <= time.time_ns() // 1_000_000


def test_repeats_what_failed_for_a_passing_reason():
    attempts = []

    def write(batch):
        attempts.append(batch)
        if len(attempts) == 1:
            raise AwayError("store is away")

    writer = BackgroundWriter(write, is_passing)
    writer.put_points(points(3))
    assert writer.close(timeout_s=10) == 0
    assert steps(attempts) == [[0, 1, 2], [0, 1, 2]]


def test_counts_what_failed_for_good_and_goes_on(caplog):
    seen = []

    def refuse():
        raise ValueError("run was deleted\nlong story")

    writer = BackgroundWriter(seen.append, is_passing)
    writer.put_job(refuse)
    writer.put_points(points(1))
    assert writer.close(timeout_s=10) == 1
    assert steps(seen) == [[0]]
    assert "tracking lost 1 writings: run was deleted" in caplog.messages


def test_gives_up_within_the_bound_and_counts_the_rest():
    def write(batch):
        raise AwayError("store is away")

    writer = BackgroundWriter(write, is_passing)
    writer.put_points(points(5))
    assert writer.close(timeout_s=0.2) == 5
    writer._thread.join(10)
    assert not writer._thread.is_alive()


def test_a_caller_never_waits_for_a_store_that_hangs():
    never = threading.Event()
    writer = BackgroundWriter(lambda batch: never.wait(), is_passing)
    writer.put_points(points(1))
    writer.put_points(points(1, start=1))
    assert writer.close(timeout_s=0.2) == 2
    never.set()


def test_refuses_writings_after_the_end():
    writer = BackgroundWriter(lambda batch: None, is_passing)
    writer.close(timeout_s=10)
    with pytest.raises(ValueError, match="the run is finished"):
        writer.put_points(points(1))
