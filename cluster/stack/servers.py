"""The three servers of a stack: how each is started, what it must know, and whether it answers."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cluster import mlflow_server, object_store, ray_head
from cluster.stack import running
from cluster.stack.card import CREDENTIALS, FOLDER_VARIABLE, NO_STACK, RAY_TOKEN, read_credentials
from cluster.stack.settings import ARTIFACT_BUCKET, BUCKET, Settings

KEEPER = Path(__file__).with_name("keeper.py")
LOG_BYTES = 10 * 2**20
TITLES = {"s3": "S3 server", "mlflow": "MLflow server", "ray": "Ray head"}
GRACES_S = {"s3": object_store.STOP_TIMEOUT_S, "mlflow": 20.0, "ray": 40.0}
"""Time to end in order; Ray gives the work of a node 30 s."""
READY_TIMEOUT_S = 150.0
"""The slowest, MLflow, takes 25 s on two idle cores, nearly all of it imports."""
AUTH_CACHE_S = 60
"""MLflow computes the hash of a password, some tens of milliseconds, once in this time instead of at every request."""
MISLEADING = (
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3",),
    *("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    *("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_NAMESPACE", "RAY_RUNTIME_ENV_HOOK"),
    *("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"),
)
"""Variables of the user that are about other servers than these."""


@dataclass(frozen=True)
class Server:
    """One server of a stack.

    Attributes:
        key: in file names.
        command: that runs until it is ended.
        answers: whether it does its work for those who have the keys.
        environment: variables that may be seen.
        secrets: variables from the credentials file, by their name there.
        cwd: where it runs.
        private_folders: made before its start, for this user alone.
    """

    key: str
    command: list[str]
    answers: Callable[[], bool]
    environment: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    cwd: str = "/"
    private_folders: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What people call it."""
        return TITLES[self.key]

    def log_path(self, folder: Path) -> Path:
        """Return where its output goes."""
        return folder / "logs" / f"{self.key}.log"

    def spec_path(self, folder: Path) -> Path:
        """Return where its keeper reads what to run."""
        return folder / "run" / f"{self.key}.spec.json"

    def keeper_command(self, folder: Path) -> list[str]:
        """Return the command that keeps it running; it holds no secret."""
        return [sys.executable, "-I", "-S", str(KEEPER), str(self.spec_path(folder))]

    def write_spec(self, folder: Path) -> None:
        """Write what its keeper has to run; the secrets stay in the credentials file."""
        spec = {
            "command": self.command,
            "environment": {**self.environment, running.MARK: running.mark(folder, self.key)},
            "secrets": self.secrets,
            "credentials": str(folder / CREDENTIALS),
            "unset": MISLEADING,
            "cwd": self.cwd,
            "private_folders": self.private_folders,
            "log": str(self.log_path(folder)),
            "log_bytes": LOG_BYTES,
            "record": str(running.record_path(folder, self.key)),
            "lock": str(folder / "run" / f"{self.key}.lock"),
            "grace_s": GRACES_S[self.key],
        }
        self.spec_path(folder).write_text(json.dumps(spec, indent=1) + "\n")


def servers_of(folder: Path, settings: Settings) -> list[Server]:
    """Return a stack's servers; those that others ask come first.

    Raises:
        ServiceError: the S3 server is not installed, or there are no keys yet.
    """
    return [_s3(folder, settings), _mlflow(folder, settings), _ray(folder, settings)]


def write_server_files(folder: Path) -> None:
    """Lay down what the servers read at their start."""
    keys = read_credentials(folder / CREDENTIALS)
    (folder / "s3" / object_store.OBJECTS).mkdir(parents=True, exist_ok=True)
    object_store.write_keys(
        folder / "s3" / object_store.KEYS, keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]
    )
    (folder / "mlflow").mkdir(exist_ok=True)
    (folder / "mlflow" / "auth.ini").write_text(
        "[mlflow]\n"
        "default_permission = READ\n"
        f"database_uri = sqlite:///{_escaped(users_file(folder))}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        f"auth_cache_ttl_seconds = {AUTH_CACHE_S}\n"
    )


def users_file(folder: Path) -> Path:
    """Return where MLflow keeps its users."""
    return folder / "mlflow" / "users.db"


def _s3(folder: Path, settings: Settings) -> Server:
    keys, endpoint = read_credentials(folder / CREDENTIALS), settings.card(folder).s3_endpoint

    def answers() -> bool:
        account = (keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
        return all(object_store.gives_back(endpoint, *account, bucket) for bucket in (BUCKET, ARTIFACT_BUCKET))

    command = object_store.server_command(folder / "s3", settings.s3)
    return Server("s3", command, answers, cwd=str(folder))


def _mlflow(folder: Path, settings: Settings) -> Server:
    keys, card = read_credentials(folder / CREDENTIALS), settings.card(folder)
    own = folder / "mlflow"
    environment = {
        **mlflow_server.SERVER_ENVIRONMENT,
        **_s3_environment(settings, folder),
        "MLFLOW_S3_ENDPOINT_URL": card.s3_endpoint,
        "MLFLOW_AUTH_CONFIG_PATH": str(own / "auth.ini"),
    }
    secrets = {
        "AWS_ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY": "AWS_SECRET_ACCESS_KEY",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "MLFLOW_FLASK_SERVER_SECRET_KEY",
        "MLFLOW_AUTH_ADMIN_USERNAME": "MLFLOW_TRACKING_USERNAME",
        "MLFLOW_AUTH_ADMIN_PASSWORD": "MLFLOW_TRACKING_PASSWORD",
    }
    command = mlflow_server.server_command(
        f"sqlite:///{own / 'mlflow.db'}", f"s3://{ARTIFACT_BUCKET}", mlflow_server.HOST, settings.mlflow, "basic-auth"
    )
    login = keys["MLFLOW_TRACKING_USERNAME"], keys["MLFLOW_TRACKING_PASSWORD"]
    return Server(
        key="mlflow",
        command=command,
        answers=lambda: mlflow_server.lets_in(card.tracking_uri, *login),
        environment=environment,
        secrets=secrets,
        cwd=str(own),
    )


def _ray(folder: Path, settings: Settings) -> Server:
    card = settings.card(folder)
    environment = {  # is inherited by workers and jobs, so that no secret has to travel with them
        **ray_head.head_environment(settings.ray, card.token_path),
        **_s3_environment(settings, folder),
        "RLQ_STORAGE": card.storage_uri,
        "RLQ_TRACKING_URI": card.tracking_uri,
        FOLDER_VARIABLE: NO_STACK,
    }
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    return Server(
        key="ray",
        command=ray_head.head_command(settings.ray, Path(settings.ray_temp_dir), settings.num_cpus),
        answers=lambda: ray_head.head_answers(card.dashboard_url, (folder / RAY_TOKEN).read_text()),
        environment=environment,
        secrets={name: name for name in names},
        cwd=settings.ray_cwd,
        private_folders=(settings.ray_temp_dir,),
    )


def _s3_environment(settings: Settings, folder: Path) -> dict[str, str]:
    region = object_store.REGION
    return {
        "AWS_ENDPOINT_URL": settings.card(folder).s3_endpoint,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
    }


def _escaped(path: Path) -> str:
    return os.fspath(path).replace("%", "%%")  # as the file's reader wants it
