"""Where jobs are sent: the dashboard of a Ray cluster, found by option, environment or the stack's card."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from cluster.stack.card import StackCard
from rlq_ray.errors import ServiceError, UsageError

CONNECT_TIMEOUT_S = 5.0
DEFAULT_TOKEN_FILE = Path("~/.ray/auth_token")
RAY_ADDRESS_OF_API = "RAY_API_SERVER_ADDRESS"
"""The variable that Ray's client follows before any other, and before what it is told."""
TALKATIVE_LOGGERS = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk")
"""They tell of every package and every socket."""
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Dashboard:
    """A dashboard's address, and the token that it is to be shown, if there is one."""

    url: str
    token: str | None


def find_dashboard(address: str | None, card: StackCard | None, environment: Mapping[str, str]) -> Dashboard:
    """Find the dashboard: the given address first, then `RAY_ADDRESS`, then the stack.

    Raises:
        UsageError: there is none, or an address is not that of a dashboard.
    """
    named = address or environment.get("RAY_ADDRESS") or None
    if card is not None and named in (None, card.ray_address, card.dashboard_url):
        return Dashboard(card.dashboard_url, _read_token(card.token_path))
    if named is None:
        raise UsageError(
            "no cluster is named: start one by `rlq up`, or give --address http://HOST:8265 (or set RAY_ADDRESS to it)"
        )
    if urlsplit(named).scheme not in PORTS:
        raise UsageError(
            f"'{named}' is no address of a dashboard, to which jobs are sent: give --address http://HOST:8265"
        )
    return Dashboard(named.rstrip("/"), _find_token(environment, not_this=card.token_path if card else None))


def _find_token(environment: Mapping[str, str], not_this: Path | None) -> str | None:
    if token := environment.get("RAY_AUTH_TOKEN"):
        return token
    if (file := environment.get("RAY_AUTH_TOKEN_PATH")) and Path(file) != not_this:
        return _read_token(Path(file))
    default = DEFAULT_TOKEN_FILE.expanduser()
    return _read_token(default) if default.exists() else None


def _read_token(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise UsageError(f"cannot read Ray's token in {path} ({error.strerror}): check RAY_AUTH_TOKEN_PATH") from error


def connect(dashboard: Dashboard) -> JobSubmissionClient:
    """Log in.

    Raises:
        ServiceError: nobody answers, or the token is refused.
    """
    for name in TALKATIVE_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    parts = urlsplit(dashboard.url)
    headers = {"Authorization": f"Bearer {dashboard.token}"} if dashboard.token else {}
    try:
        port = parts.port or PORTS[parts.scheme]
        socket.create_connection((parts.hostname or "", port), CONNECT_TIMEOUT_S).close()  # Ray would wait for ever
        with _alone_in_environment(dashboard.url):
            return JobSubmissionClient(dashboard.url, headers=headers)
    except AuthenticationError as error:
        found = "its token" if dashboard.token else "a call without a token"
        raise ServiceError(
            f"the dashboard at {dashboard.url} refuses {found}: set RAY_AUTH_TOKEN_PATH to the file with the cluster's"
        ) from error
    except (OSError, ValueError, RuntimeError, requests.RequestException) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ServiceError(
            f"no Ray dashboard answers at {dashboard.url} ({reason}): check the address, and that the cluster runs"
        ) from error


@contextlib.contextmanager
def _alone_in_environment(url: str) -> Iterator[None]:
    """Have Ray's client take this address, and not that of a variable."""
    kept = os.environ.get(RAY_ADDRESS_OF_API)
    os.environ[RAY_ADDRESS_OF_API] = url
    try:
        yield
    finally:
        del os.environ[RAY_ADDRESS_OF_API]
        if kept is not None:
            os.environ[RAY_ADDRESS_OF_API] = kept
