"""Counts the calls that this process makes to a tracking server, by run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import requests


@dataclass
class Calls:
    """Calls that were answered, and the points that they carried, by the run's id; "" where there is none."""

    answered: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)


@contextmanager
def counted_calls() -> Iterator[Calls]:
    """Count within the block."""
    calls, send = Calls(), requests.Session.send

    def counted(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        answer = send(session, request, **options)
        try:
            said = json.loads(request.body or b"{}")
        except ValueError:  # an artifact
            said = {}
        run_id = said.get("run_id", "")
        calls.answered[run_id] += 1
        calls.points[run_id] += len(said.get("metrics", []))
        return answer

    with mock.patch.object(requests.Session, "send", counted):
        yield calls
