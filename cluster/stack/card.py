"""Where the local stack is and how its clients log in: written by `rlq up`, read by everybody else.

Light, since every command looks whether there is a stack. Knows no server and starts nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cluster.ray_head import LOOPBACK_ONLY
from rlq_ray.errors import ServiceError

FOLDER_VARIABLE = "RLQ_STACK"
"""Names the folder of a stack other than the default one; `none` leaves every stack aside."""
NO_STACK = "none"
DEFAULT_FOLDER = Path("rlq-data") / "stack"
CARD = "stack.json"
CREDENTIALS = "credentials.env"
RAY_TOKEN = "ray_token"
S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
LOGIN = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")


@dataclass(frozen=True)
class StackCard:
    """Addresses of a stack that was started and not ended; whether it still answers is another question.

    Attributes:
        folder: of its state, data and logs; absolute.
        ray_address: of the GCS, as host:port.
        dashboard_url: of Ray's dashboard and job server.
        s3_endpoint: address of the S3 server.
        s3_region: that it says it is in.
        storage_uri: of its bucket for data, runs and checkpoints.
        tracking_uri: of the MLflow server, and of its UI.
        metrics_url: where Prometheus reads Ray's figures and those of trainings.
    """

    folder: Path
    ray_address: str
    dashboard_url: str
    s3_endpoint: str
    s3_region: str
    storage_uri: str
    tracking_uri: str
    metrics_url: str

    @property
    def token_path(self) -> Path:
        """File with Ray's token, for `RAY_AUTH_TOKEN_PATH`."""
        return self.folder / RAY_TOKEN

    @property
    def credentials_path(self) -> Path:
        """File with the keys of S3 and the password of MLflow, as lines `NAME=value`."""
        return self.folder / CREDENTIALS

    def ray_environment(self) -> dict[str, str]:
        """Return the variables by which Ray's clients find the cluster; they must be set before `ray` is imported."""
        return {
            "RAY_ADDRESS": self.ray_address,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_path),
            **LOOPBACK_ONLY,
        }

    def s3_environment(self) -> dict[str, str]:
        """Return the variables by which S3 clients find its server."""
        keys = read_credentials(self.credentials_path)
        return {
            "AWS_ENDPOINT_URL": self.s3_endpoint,
            "AWS_REGION": self.s3_region,
            "AWS_DEFAULT_REGION": self.s3_region,
            **{name: keys[name] for name in S3_KEYS},
        }

    def tracking_environment(self) -> dict[str, str]:
        """Return the variables by which MLflow's clients log in."""
        keys = read_credentials(self.credentials_path)
        return {name: keys[name] for name in LOGIN}


def stack_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder of the stack that commands called here use, if any is to be used."""
    named = environment.get(FOLDER_VARIABLE)
    if named == NO_STACK:
        return None
    return Path(named or DEFAULT_FOLDER).expanduser().absolute()


def read_stack(folder: Path | None) -> StackCard | None:
    """Return the card of the stack in a folder; None if none was started there, or it was ended.

    Raises:
        ServiceError: the card is damaged.
    """
    if folder is None:
        return None
    path = folder / CARD
    try:
        fields: dict[str, Any] = json.loads(path.read_text())
        return StackCard(**{**fields, "folder": folder})
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise ServiceError(f"{path} is damaged ({error}): end the stack by `rlq down`, then call `rlq up`") from error


def write_stack(card: StackCard) -> None:
    """Write a card, whole or not at all."""
    fields = {key: value for key, value in asdict(card).items() if key != "folder"}
    part = card.folder / f".{CARD}.part"
    part.write_text(json.dumps(fields, indent=1) + "\n")
    part.replace(card.folder / CARD)


def read_credentials(path: Path) -> dict[str, str]:
    """Read a credentials file: lines `NAME=value`, others than those are passed over.

    Raises:
        ServiceError: it cannot be read.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise ServiceError(f"cannot read the stack's credentials ({error}): call `rlq up`") from error
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}
