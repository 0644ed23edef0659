"""The way to S3: boto3 resolves credentials, endpoint and region, pyarrow moves the bytes. The only user of boto3.

Clients are made once per process, account and limits, and made anew when the keys are others: temporary credentials
run out during a training, and `AWS_*` variables can change. Nothing here is pickled.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pyarrow.fs as pafs

from rlq_ray.errors import StorageError

log = logging.getLogger(__name__)

FALLBACK_REGION = "us-east-1"
REFRESH_PAUSE_S = 5.0
"""Time until those who issue keys are asked again after they failed to."""
VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_CA_BUNDLE",
)
"""What is looked at before each use: 10 µs, where all variables of a cluster's node would take 70."""


class S3Limits(NamedTuple):
    """How long a client waits, in seconds."""

    connect_s: float = 5.0
    silence_s: float = 15.0
    """An answer that brings less than a byte per second for so long is given up; in whole seconds, at least 1."""
    max_attempts: int = 3
    """Requests before pyarrow gives up."""
    lanes: int = 1
    """File systems that share no connections."""


COMMAND = S3Limits()
"""For what a person waits for."""


@dataclass(frozen=True, eq=False)
class S3Client:
    """File systems, one per lane, and the keys that they sign with; a client is equal to itself alone."""

    lanes: tuple[pafs.S3FileSystem, ...]
    keys: tuple[str | None, ...] = field(repr=False)


@dataclass
class _Account:
    """What boto3 resolved from one state of the environment."""

    environment: tuple[str | None, ...]
    credentials: Any
    endpoint: str | None
    region: str | None
    ca_bundle: str | None
    latest_keys: tuple[str | None, ...] | None = None
    next_refresh_s: float = 0.0
    regions: dict[str, str] = field(default_factory=dict)
    clients: dict[tuple[object, ...], S3Client] = field(default_factory=dict)


_account: _Account | None = None
_lock = threading.RLock()
_is_quiet = threading.Event()
_is_quiet.set()


def s3_client(bucket: str, limits: S3Limits = COMMAND) -> S3Client:
    """Return the client for a bucket, with keys that are valid now.

    Raises:
        StorageError: no credentials, or an endpoint that is no address.
    """
    account = _current_account()
    keys = _keys_of(account)
    client = account.clients.get((keys, account.regions.get(bucket), limits))
    return client or _make_client(account, keys, bucket, limits)


def renew(refused: S3Client) -> bool:
    """Ask boto3 for credentials again after the store refused a client's; tell whether they are others now.

    Raises:
        StorageError: there are no credentials any more.
    """
    global _account
    with _lock:
        if _keys_of(_current_account()) == refused.keys:
            _account = _resolve_account(_environment())
        return _keys_of(_current_account()) != refused.keys


def wait_for_builders() -> None:
    """Hold back a request while a client is built: pyarrow builds one only once no request at all is under way.

    Else one who builds could wait for ever beside threads that read all the time, and a hedge for what it overtakes.
    """
    if not _is_quiet.is_set():
        _is_quiet.wait()


def _environment() -> tuple[str | None, ...]:
    return tuple(map(os.environ.get, VARIABLES))


def _current_account() -> _Account:
    global _account
    account, environment = _account, _environment()
    if account is None or account.environment != environment:
        with _lock:
            if _account is None or _account.environment != environment:
                _account = _resolve_account(environment)
            account = _account
    return account


def _resolve_account(environment: tuple[str | None, ...]) -> _Account:
    import boto3  # here, because it takes half a second and only S3 needs it
    from botocore.config import Config
    from botocore.session import Session

    try:
        core = Session()
        session = boto3.Session(botocore_session=core)
        credentials = session.get_credentials()
        region = os.environ.get("AWS_REGION") or session.region_name  # boto3 does not read the first
        given, usual = (
            session.client("s3", region_name=region, config=config).meta.endpoint_url
            for config in (Config(), Config(ignore_configured_endpoint_urls=True))
        )
        ca_bundle = core.get_config_variable("ca_bundle")
    except _failures() as error:
        raise StorageError(f"no way to S3 ({error}): check AWS_PROFILE and the endpoint, or log in again") from error
    if credentials is None:
        raise StorageError("no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
    endpoint = given if given != usual else None
    if endpoint and urlsplit(endpoint).path.strip("/"):
        raise StorageError(f"the S3 endpoint is {endpoint}: give one without a path")
    return _Account(environment, credentials, endpoint, region, ca_bundle)


def _keys_of(account: _Account) -> tuple[str | None, ...]:
    """Return the keys of now; the latest, while those who hand out temporary ones are away."""
    if account.latest_keys and time.monotonic() < account.next_refresh_s:
        return account.latest_keys
    try:
        frozen = account.credentials.get_frozen_credentials()
        account.latest_keys = (frozen.access_key, frozen.secret_key, frozen.token)
    except _failures() as error:
        if account.latest_keys is None:
            raise StorageError(f"no S3 credentials ({error}): check AWS_PROFILE, or log in again") from error
        account.next_refresh_s = time.monotonic() + REFRESH_PAUSE_S
        log.warning("cannot refresh the S3 credentials (%s): going on with the latest", error)
    return account.latest_keys


def _failures() -> tuple[type[Exception], ...]:
    """Return what boto3 raises where files, programs and services that issue keys are missing or answer nonsense."""
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError, OSError, RuntimeError, ValueError


def _make_client(account: _Account, keys: tuple[str | None, ...], bucket: str, limits: S3Limits) -> S3Client:
    with _lock:
        region = account.regions.get(bucket) or _region_of(account, bucket)
        account.regions[bucket] = region
        if made := account.clients.get((keys, region, limits)):
            return made
        _is_quiet.clear()
        try:
            lanes = tuple(_open_filesystem(account, keys, region, limits) for _ in range(limits.lanes))
        finally:
            _is_quiet.set()
        client = S3Client(lanes, keys)
        kept = {key: value for key, value in account.clients.items() if value.keys == keys}
        account.clients = {**kept, (keys, region, limits): client}
        return client


def _open_filesystem(
    account: _Account, keys: tuple[str | None, ...], region: str, limits: S3Limits
) -> pafs.S3FileSystem:
    access_key, secret_key, token = keys
    parts = urlsplit(account.endpoint) if account.endpoint else None
    return pafs.S3FileSystem(
        access_key=access_key,
        secret_key=secret_key,
        session_token=token,
        region=region,
        endpoint_override=parts.netloc if parts else None,
        scheme=parts.scheme if parts else "https",
        connect_timeout=limits.connect_s,
        request_timeout=limits.silence_s,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=limits.max_attempts),
        tls_ca_file_path=account.ca_bundle,
    )


def _region_of(account: _Account, bucket: str) -> str:
    """Return a bucket's own region, where the store is Amazon's: another is answered by a redirection."""
    configured = account.region or FALLBACK_REGION
    if account.endpoint:
        return configured
    try:
        return str(pafs.resolve_s3_region(bucket))
    except OSError as error:
        reason = str(error).splitlines()[0]
        log.warning("cannot find the region of the bucket '%s' (%s): taking %s", bucket, reason, configured)
        return configured
