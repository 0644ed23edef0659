"""An MLflow server on this machine, for tests, the local stack and the UI. Starts the program; imports no mlflow."""

from __future__ import annotations

import base64
import os
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster.processes import GRACE_S, Service, check_port_free, free_ports, start_service, wait_until

HOST = "127.0.0.1"
READY_TIMEOUT_S = 120.0
"""It takes up to 24 s on two busy cores, nearly all of it imports."""
ANSWER_TIMEOUT_S = 10.0
SERVER_ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes and 0.8 GB that nothing here uses
    "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "20",
    "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "180",  # with its 15, as many writers at once wait for each other 30 s long
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}


@dataclass(frozen=True)
class MlflowServer:
    """A running server; `uri` is both the tracking URI and the address of the UI."""

    uri: str
    service: Service

    def stop(self, grace_s: float = GRACE_S) -> None:
        """End the server; its store stays."""
        self.service.stop(grace_s)


def start_mlflow_server(
    store_uri: str,
    artifacts: str | os.PathLike[str],
    log_path: Path,
    host: str = HOST,
    port: int | None = None,
    is_guarded: bool = True,
) -> MlflowServer:
    """Start the server on a store and wait until it answers.

    Args:
        store_uri: database, such as `sqlite:////absolute/file.db`.
        artifacts: folder or `s3://` URI where it puts the artifacts that clients send to it.
        log_path: for its output.
        host: address to listen on; other names than this one and private addresses are refused by the server.
        port: by default a free one.
        is_guarded: whether it ends with this process.

    Raises:
        ServiceError: the port is taken, or the server does not start.
    """
    name = "the MLflow server"
    port = port or free_ports(1)[0]
    check_port_free(host, port, name)
    command = server_command(store_uri, os.fspath(artifacts), host, port)
    service = start_service(name, command, log_path, SERVER_ENVIRONMENT, is_guarded)
    uri = f"http://{host}:{port}"
    wait_until(service, lambda: _is_healthy(uri), READY_TIMEOUT_S)
    return MlflowServer(uri, service)


def server_command(store_uri: str, artifacts: str, host: str, port: int, app: str | None = None) -> list[str]:
    """Return the command of a server; `app` is MLflow's name of what stands before it, such as `basic-auth`."""
    options = {
        "backend-store-uri": store_uri,
        "artifacts-destination": artifacts,
        "host": host,
        "port": str(port),
        "workers": "1",
        **({"app-name": app} if app else {}),
    }
    return [sys.executable, "-m", "mlflow", "server", *(f"--{key}={value}" for key, value in options.items())]


def lets_in(uri: str, user: str, password: str) -> bool:
    """Tell whether a server answers a user's question to its database."""
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    question = f"{uri}/api/2.0/mlflow/experiments/search?max_results=1"
    request = urllib.request.Request(question, headers={"Authorization": f"Basic {login}"})
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def serve_ui(tracking_uri: str, host: str = HOST, port: int = 5000, on_ready: Callable[[str], None] = print) -> None:
    """Show a tracking database in the MLflow UI until Ctrl-C.

    Args:
        tracking_uri: of the database; a server has a UI of its own.
        host: address to listen on.
        port: to listen on.
        on_ready: called with the address of the UI.

    Raises:
        ServiceError: the port is taken, or the server does not start.
    """
    with tempfile.TemporaryDirectory(prefix="rlq-ui-") as folder:
        server = start_mlflow_server(tracking_uri, Path(folder), Path(folder) / "server.log", host, port)
        try:
            on_ready(server.uri)
            server.service.process.wait()
        except KeyboardInterrupt:
            pass  # the way to end it
        finally:
            server.stop()


def _is_healthy(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False
