"""What a sweep's files say of the driver that writes them."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from rlq_ray.storage import locate
from tuning.record import PULSE_S, Ledger, list_sweeps


def test_a_driver_on_another_machine_is_at_work_until_its_signs_stay_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(locate(tmp_path), "one")
    assert not ledger.beats_elsewhere()
    ledger.keep_pulse()
    assert not ledger.beats_elsewhere(), "of one here its lock tells, at once"
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    assert ledger.beats_elsewhere()
    now_s = time.time()
    monkeypatch.setattr(time, "time", lambda: now_s + 4 * PULSE_S)
    assert not ledger.beats_elsewhere()


def test_lists_the_sweeps_that_were_begun(tmp_path: Path) -> None:
    assert list_sweeps(locate(tmp_path)) == []
    for name in ("step-ratio", "full"):
        Ledger(locate(tmp_path), name).keep_card({})
    Ledger(locate(tmp_path), "never-begun").keep_pulse()
    assert list_sweeps(locate(tmp_path)) == ["full", "step-ratio"]
