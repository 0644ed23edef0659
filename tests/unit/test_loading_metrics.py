"""What is tracked of loading: shares and speeds since the last look, and counts of trouble."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rlq_ray.distributed.loading import Loading
from rlq_ray.types import LoaderCounts


def test_tells_what_happened_since_the_last_look(monkeypatch):
    clock, counts = [100.0], [LoaderCounts(10, 1.0, 1_000_000, 5, 0, 0)]
    monkeypatch.setattr("rlq_ray.distributed.loading.time.monotonic", lambda: clock[0])
    loading = Loading({"cap": lambda: counts[0]})
    clock[0] += 4
    counts[0] = replace(counts[0], stall_s=3.0, read_bytes=9_000_000, retries=2)
    first = loading.since_last().metrics()
    assert first["loading/cap/stall_share"] == pytest.approx(0.5)
    assert first["loading/cap/read_mb_per_second"] == pytest.approx(2.0)
    assert (first["loading/cap/retries"], first["loading/cap/hedges"]) == (2, 0)
    clock[0] += 1
    second = loading.since_last().metrics()
    assert second["loading/cap/stall_share"] == second["loading/cap/read_mb_per_second"] == 0
    assert second["loading/cap/retries"] == 2
