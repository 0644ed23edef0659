"""Keys, passwords and the token of a stack: made once, in files that only their owner can read. Knows no server."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cluster.stack.card import CREDENTIALS, RAY_TOKEN

USER = "rlq"
"""The administrator of the MLflow server."""
OWNER_ONLY = 0o600


def make_keys(folder: Path) -> bool:
    """Make what is missing of a stack's keys; tell whether there were none before.

    Permissions that were loosened are mended.
    """
    credentials, token = folder / CREDENTIALS, folder / RAY_TOKEN
    is_new = not credentials.exists()
    if is_new:
        values = {
            "AWS_ACCESS_KEY_ID": secrets.token_hex(10),
            "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
            "MLFLOW_TRACKING_USERNAME": USER,
            "MLFLOW_TRACKING_PASSWORD": secrets.token_urlsafe(18),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),  # signs what the UI sends back
        }
        head = "# Keys of the stack's S3 server and the login of its MLflow server. Keep them to yourself.\n"
        _write(credentials, head + "".join(f"{name}={value}\n" for name, value in values.items()))
    if not token.exists():
        _write(token, secrets.token_hex(32))
    for path in (credentials, token):
        path.chmod(OWNER_ONLY)
    return is_new


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    part.replace(path)
