"""The time between two steps is counted once, for the phase of the later one."""

from __future__ import annotations

import pytest
import torch

from rlq_ray.distributed.step_clock import StepClock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("rlq_ray.distributed.step_clock.time.monotonic", lambda: now[0])
    return now


def test_each_phase_has_the_time_of_its_steps(now: list[float]) -> None:
    clock = StepClock(torch.device("cpu"))
    for phase, seconds in (("tad", 2.0), ("tad", 3.0), ("cap", 1.0)):
        now[0] += seconds
        clock.after_step(phase)
    assert clock.read() == {"tad": 5.0, "cap": 1.0}
    assert clock.read() == {}
    now[0] += 4
    clock.after_step("cap")
    assert clock.read() == {"cap": 4.0}, "from the last mark that was read"


def test_what_lies_before_a_restart_is_nobodys(now: list[float]) -> None:
    clock = StepClock(torch.device("cpu"))
    now[0] += 60
    clock.restart()
    now[0] += 1
    clock.after_step("cap")
    assert clock.read() == {"cap": 1.0}
