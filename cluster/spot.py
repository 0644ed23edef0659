"""Amazon's notice that a spot instance is taken back, asked for on the instance again and again. Knows no Ray."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime

from rlq_ray.errors import ServiceError

METADATA = "http://169.254.169.254"
"""Where every instance is told about itself."""
POLL_S = 5.0
TOKEN_TTL_S = 21_600
ANSWER_TIMEOUT_S = 2.0
MOST_FAILURES = 60
"""Questions in a row without an answer after which nobody is there to be asked."""


def wait_for_notice(metadata: str = METADATA, poll_s: float = POLL_S) -> float:
    """Wait, for days if need be, until this instance is to be taken back; return the seconds that it has left.

    Raises:
        ServiceError: no metadata service answers, as on a machine that is none of Amazon's.
    """
    failures = 0
    while True:
        try:
            left_s = _seconds_left(metadata)
            failures = 0
        except OSError as error:
            failures += 1
            if failures >= MOST_FAILURES:
                raise ServiceError(
                    f"no metadata service answers at {metadata} ({error}): watch for the notice on an EC2 instance"
                ) from error
            left_s = None
        if left_s is not None:
            return left_s
        time.sleep(poll_s)


def _seconds_left(metadata: str) -> float | None:
    """Ask for the notice; None while there is none, which the service says with status 404."""
    token = _ask(f"{metadata}/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_TTL_S)}, "PUT")
    try:
        notice = json.loads(
            _ask(f"{metadata}/latest/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": token}, "GET")
        )
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise
    end = datetime.fromisoformat(notice["time"])
    return max(0.0, (end - datetime.now(UTC)).total_seconds())


def _ask(url: str, headers: dict[str, str], method: str) -> str:
    request = urllib.request.Request(url, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as answer:
        text: str = answer.read().decode()
        return text
