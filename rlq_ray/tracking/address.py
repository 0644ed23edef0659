"""Addresses of tracking stores: the default one, and how they are shown and probed. Knows no MLflow."""

from __future__ import annotations

import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from rlq_ray.errors import TrackingError

PROBE_TIMEOUT_S = 5


def default_uri(folder: str | os.PathLike[str]) -> str:
    """Return the URI of the SQLite store in a folder, independent of the working directory."""
    return f"sqlite:///{Path(folder).expanduser().absolute() / 'mlflow.db'}"


def shown_uri(uri: str) -> str:
    """Return a URI without its password."""
    parts = urlsplit(uri)
    if not parts.password:
        return uri
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{host}"))


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite store, None for any other store."""
    return Path(uri.removeprefix("sqlite:///")).absolute() if uri.startswith("sqlite:///") else None


def probe(uri: str) -> None:
    """Fail fast if a store is not there; MLflow's own calls would first retry for four minutes.

    Raises:
        TrackingError: nobody answers at an http(s) address, or the folder of a SQLite file cannot be written.
    """
    if uri.startswith(("http://", "https://")):
        _probe_server(uri)
    elif file := sqlite_file(uri):
        _probe_file(uri, file)


def _probe_server(uri: str) -> None:
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=PROBE_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return  # somebody answers; a proxy may not pass /health on
    except OSError as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):
            return  # somebody answers; MLflow has its own settings for certificates
        raise TrackingError(
            f"no tracking server answers at {shown_uri(uri)} ({reason}): start it, or set RLQ_TRACKING_URI to another"
        ) from error


def _probe_file(uri: str, file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrackingError(
            f"cannot make the folder of tracking store {uri} ({error.strerror}): set RLQ_TRACKING_URI to another"
        ) from error
    if not os.access(file if file.exists() else file.parent, os.W_OK) or file.is_dir():
        raise TrackingError(f"cannot write tracking store {uri}: mend its permissions or set RLQ_TRACKING_URI")
