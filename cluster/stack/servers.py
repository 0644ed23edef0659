"""The three servers of a stack: how each is started, what it must know, and whether it answers."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cluster import mlflow_server, object_store, ray_head
from cluster.stack import running
from cluster.stack.card import (
    CREDENTIALS,
    FOLDER_VARIABLE,
    LOGIN,
    NO_STACK,
    RAY_TOKEN,
    S3_KEYS,
    StackCard,
    read_credentials,
)
from cluster.stack.settings import ARTIFACT_BUCKET, BUCKET, Settings
from rlq_ray.errors import ServiceError

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
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"),
    *("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    *("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_NAMESPACE", "RAY_RUNTIME_ENV_HOOK"),
    *("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"),
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
        too_slow: what it says when it gave up its own start on a busy machine, after which it is started once more.
    """

    key: str
    command: list[str]
    answers: Callable[[], bool]
    environment: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    cwd: str = "/"
    private_folders: tuple[str, ...] = ()
    too_slow: str = ""

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
        ServiceError: something is not installed, or there are no keys yet.
    """
    return [_s3(folder, settings), _mlflow(folder, settings), _ray(folder, settings)]


def write_server_files(folder: Path) -> None:
    """Lay down what the servers read at their start."""
    access_key, secret_key = _secrets(folder, S3_KEYS)
    (folder / "s3" / object_store.OBJECTS).mkdir(parents=True, exist_ok=True)
    object_store.write_keys(folder / "s3" / object_store.KEYS, access_key, secret_key)
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
    endpoint, (access_key, secret_key) = settings.card(folder).s3_endpoint, _secrets(folder, S3_KEYS)

    def answers() -> bool:
        buckets = (BUCKET, ARTIFACT_BUCKET)
        return all(object_store.gives_back(endpoint, access_key, secret_key, bucket) for bucket in buckets)

    command = object_store.server_command(folder / "s3", settings.s3)
    return Server("s3", command, answers, cwd=str(folder))


def _mlflow(folder: Path, settings: Settings) -> Server:
    if importlib.util.find_spec("flask_wtf") is None:
        raise ServiceError("the login of the MLflow server is not installed: pip install 'rlq-ray[stack]'")
    card, (user, password) = settings.card(folder), _secrets(folder, LOGIN)
    own = folder / "mlflow"
    environment = {
        **mlflow_server.SERVER_ENVIRONMENT,
        **_s3_environment(card),
        "MLFLOW_S3_ENDPOINT_URL": card.s3_endpoint,
        "MLFLOW_AUTH_CONFIG_PATH": str(own / "auth.ini"),
    }
    secrets = {
        **{name: name for name in S3_KEYS},
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "MLFLOW_FLASK_SERVER_SECRET_KEY",
        "MLFLOW_AUTH_ADMIN_USERNAME": "MLFLOW_TRACKING_USERNAME",
        "MLFLOW_AUTH_ADMIN_PASSWORD": "MLFLOW_TRACKING_PASSWORD",
    }
    command = mlflow_server.server_command(
        f"sqlite:///{own / 'mlflow.db'}", f"s3://{ARTIFACT_BUCKET}", mlflow_server.HOST, settings.mlflow, "basic-auth"
    )
    return Server(
        key="mlflow",
        command=command,
        answers=lambda: mlflow_server.lets_in(card.tracking_uri, user, password),
        environment=environment,
        secrets=secrets,
        cwd=str(own),
    )


def _ray(folder: Path, settings: Settings) -> Server:
    card = settings.card(folder)
    environment = {  # is inherited by workers and jobs, so that no secret has to travel with them
        **ray_head.head_environment(settings.ray, card.token_path),
        **_s3_environment(card),
        "RLQ_STORAGE": card.storage_uri,
        "RLQ_TRACKING_URI": card.tracking_uri,
        "RLQ_PYTHON": sys.executable,  # of jobs, whose command is looked for where the environment may not be activated
        FOLDER_VARIABLE: NO_STACK,
    }
    names = (*S3_KEYS, *LOGIN)
    return Server(
        key="ray",
        command=ray_head.head_command(settings.ray, Path(settings.ray_temp_dir), settings.num_cpus),
        answers=lambda: ray_head.head_answers(card.dashboard_url, (folder / RAY_TOKEN).read_text()),
        environment=environment,
        secrets={name: name for name in names},
        cwd=settings.ray_cwd,
        private_folders=(settings.ray_temp_dir,),
        too_slow="timed out during startup",  # it gives itself 30 s, which cannot be changed
    )


def _s3_environment(card: StackCard) -> dict[str, str]:
    """Return how S3 clients find the server, but for the keys."""
    return {name: value for name, value in card.s3_environment().items() if name not in S3_KEYS}


def _secrets(folder: Path, names: Sequence[str]) -> list[str]:
    """Return values of the credentials file.

    Raises:
        ServiceError: one is missing.
    """
    known = read_credentials(folder / CREDENTIALS)
    if missing := [name for name in names if name not in known]:
        raise ServiceError(f"{folder / CREDENTIALS} lacks {missing[0]}: delete the file and call `rlq up`")
    return [known[name] for name in names]


def _escaped(path: Path) -> str:
    return os.fspath(path).replace("%", "%%")  # as the file's reader wants it
