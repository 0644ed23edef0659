"""The stack of `rlq up` as the last part of the environment: what nothing else says, its card says."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from urllib.parse import urlsplit

from cluster.ray_head import LOCAL_ENVIRONMENT
from cluster.stack.card import StackCard, read_stack, stack_folder
from rlq_ray.errors import ServiceError, UsageError

ANOTHER_S3 = (
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE"),
    *("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
)
"""Variables that say which S3 a user means."""
CONNECT_TIMEOUT_S = 5.0


def take_up_stack(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set the addresses and keys of the stack, if there is one here, where the environment names no other place.

    To be called before anything imports ray, which reads its variables then.

    Raises:
        UsageError: the environment names another S3, which the stack's workers do not know.
        ServiceError: a server that is needed of the stack does not answer.
    """
    card = read_stack(stack_folder(environment))
    if card is None:
        return
    takes_ray = not environment.get("RAY_ADDRESS")
    takes_store = not environment.get("RLQ_STORAGE")
    takes_tracking = not (environment.get("RLQ_TRACKING_URI") or environment.get("MLFLOW_TRACKING_URI"))
    addresses = {}
    if takes_ray or takes_store:
        _refuse_another_s3(card, environment)
        environment.update(card.s3_environment())
        addresses["S3"] = card.s3_endpoint
    if takes_ray:
        environment.pop("RAY_AUTH_TOKEN", None)  # Ray prefers it to the file
        environment.update(card.ray_environment())
        for name, value in LOCAL_ENVIRONMENT.items():
            environment.setdefault(name, value)
        addresses["Ray"] = f"http://{card.ray_address}"
    if takes_store:
        environment["RLQ_STORAGE"] = card.storage_uri
    if takes_tracking:
        environment["RLQ_TRACKING_URI"] = card.tracking_uri
        environment.update(card.tracking_environment())
        addresses["MLflow"] = card.tracking_uri
    _require_answers(card, addresses)


def keep_login_for(tracking_uri: str, environment: MutableMapping[str, str] = os.environ) -> None:
    """Forget the login of the stack's MLflow server unless it is the one that is meant."""
    card = read_stack(stack_folder(environment))
    if card and card.tracking_uri != tracking_uri:
        for name, value in card.tracking_environment().items():
            if environment.get(name) == value:
                del environment[name]


def _refuse_another_s3(card: StackCard, environment: MutableMapping[str, str]) -> None:
    ours = card.s3_environment()
    for name in ANOTHER_S3:
        if environment.get(name, ours.get(name)) != ours.get(name):
            raise UsageError(
                f"{name} names another S3 than the stack in {card.folder}, whose workers know their own only: "
                "unset it, or leave the stack aside by RLQ_STACK=none"
            )


def _require_answers(card: StackCard, addresses: dict[str, str]) -> None:
    silent = [f"{name} ({address})" for name, address in addresses.items() if not _listens(address)]
    if silent:
        raise ServiceError(
            f"{' and '.join(silent)} of the stack in {card.folder} does not answer: `rlq up` mends it, "
            "`rlq down` puts it away"
        )


def _listens(address: str) -> bool:
    parts = urlsplit(address)
    try:
        socket.create_connection((str(parts.hostname), parts.port or 0), CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True
