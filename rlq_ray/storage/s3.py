"""The way to S3: boto3 resolves the credentials, pyarrow moves the bytes. The only code that knows of boto3."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import pyarrow.fs as pafs

from rlq_ray.errors import StorageError

CONNECT_TIMEOUT_S = 10
REQUEST_TIMEOUT_S = 60


def s3_filesystem() -> pafs.FileSystem:
    """Open S3 as the user's credentials see it.

    Raises:
        StorageError: no credentials.
    """
    import boto3  # here, because it takes half a second and only S3 needs it
    from botocore.exceptions import BotoCoreError

    try:
        session = boto3.Session()
        credentials = session.get_credentials()
        frozen = credentials.get_frozen_credentials() if credentials else None
    except BotoCoreError as error:
        raise StorageError(f"no S3 credentials ({error}): check AWS_PROFILE, or log in again") from error
    if frozen is None:
        raise StorageError("no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    parts = urlsplit(endpoint) if endpoint else None
    return pafs.S3FileSystem(
        access_key=frozen.access_key,
        secret_key=frozen.secret_key,
        session_token=frozen.token,
        region=session.region_name or "us-east-1",
        endpoint_override=parts.netloc if parts else None,
        scheme=parts.scheme if parts else "https",
        connect_timeout=CONNECT_TIMEOUT_S,
        request_timeout=REQUEST_TIMEOUT_S,
    )
