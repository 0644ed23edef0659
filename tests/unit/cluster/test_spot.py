"""Asking an EC2 instance for the notice of its end, against a server that answers as Amazon documents it.

Amazon's own metadata service is only to be had on its instances.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cluster import spot
from cluster.spot import wait_for_notice
from rlq_ray.errors import ServiceError

TOKEN = "a-token-of-the-instance"


@contextmanager
def metadata_service(answers: list[tuple[int, str]]) -> Iterator[str]:
    """Serve the notice's place with these answers, the last one again and again; without a token nothing."""

    class Answering(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            wants_token = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
            self._answer(200 if wants_token else 400, TOKEN)

        def do_GET(self) -> None:
            if self.headers["X-aws-ec2-metadata-token"] != TOKEN:
                self._answer(401, "")
            elif self.path != "/latest/meta-data/spot/instance-action":
                self._answer(400, "")
            else:
                self._answer(*(answers.pop(0) if len(answers) > 1 else answers[0]))

        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def notice(in_s: float) -> str:
    end = datetime.now(UTC) + timedelta(seconds=in_s)
    return json.dumps({"action": "terminate", "time": end.strftime("%Y-%m-%dT%H:%M:%SZ")})


def test_waits_while_there_is_none_and_tells_what_is_left() -> None:
    with metadata_service([(404, ""), (404, ""), (200, notice(100))]) as address:
        assert 90 < wait_for_notice(address, poll_s=0.01) <= 100


def test_a_service_that_fails_for_a_while_is_asked_again() -> None:
    with metadata_service([(404, ""), (500, ""), (503, ""), (200, notice(100))]) as address:
        assert 90 < wait_for_notice(address, poll_s=0.01) <= 100


def test_a_notice_of_the_past_leaves_no_time() -> None:
    with metadata_service([(200, notice(-5))]) as address:
        assert wait_for_notice(address, poll_s=0.01) == 0.0


def test_a_machine_without_the_service_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spot, "MOST_FAILURES", 3)
    with metadata_service([(500, "")]) as address, pytest.raises(ServiceError, match="on an EC2 instance"):
        wait_for_notice(address, poll_s=0.01)
