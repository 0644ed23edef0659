"""Ray for one command: a given cluster, or one of its own that lives as long as the command. Knows no training."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ray

from cluster.ray_head import DEFAULT_OBJECT_STORE_BYTES, LOCAL_ENVIRONMENT
from rlq_ray.errors import ServiceError, UsageError

LONGEST_TEMP_DIR = 40
"""Characters; Ray adds up to 66 for the name of a Unix socket, which may have 107."""
CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class RaySession:
    """A connection to Ray: the cluster's address, and whether this process started it."""

    address: str
    is_own: bool


@contextlib.contextmanager
def session(
    address: str | None = None,
    num_cpus: int | None = None,
    temp_dir: Path | None = None,
    shows_worker_output: bool = False,
    has_dashboard: bool = False,
) -> Iterator[RaySession]:
    """Connect to a cluster or start one, and at the end undo only what was done here; join what is connected already.

    Args:
        address: of a cluster; by default `RAY_ADDRESS`, else one is started in this process.
        num_cpus: logical CPUs of a started cluster; by default those of the machine.
        temp_dir: for sockets and logs of a started cluster, at most 40 characters; by default made and deleted again.
        shows_worker_output: whether workers' lines come out here, too; they are in the logs in any case.
        has_dashboard: whether a started cluster serves its dashboard.

    Raises:
        ServiceError: the given cluster does not answer.
        UsageError: the name of `temp_dir` is too long.
    """
    if temp_dir and len(str(temp_dir)) > LONGEST_TEMP_DIR:
        raise UsageError(
            f"temp_dir '{temp_dir}' has {len(str(temp_dir))} characters: Ray needs one of at most {LONGEST_TEMP_DIR}"
        )
    address = address or os.environ.get("RAY_ADDRESS") or None
    if ray.is_initialized():
        yield RaySession(ray.get_runtime_context().gcs_address, is_own=False)
    elif address:
        with _connected(address, shows_worker_output) as found:
            yield found
    else:
        with _own_cluster(num_cpus, temp_dir, shows_worker_output, has_dashboard) as found:
            yield found


@contextlib.contextmanager
def _connected(address: str, shows_worker_output: bool) -> Iterator[RaySession]:
    try:
        _knock(address)
        with _own_answer_to_sigterm():
            ray.init(address=address, log_to_driver=shows_worker_output, logging_level=logging.WARNING)
    except (OSError, ray.exceptions.RaySystemError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ServiceError(
            f"no Ray cluster answers at '{address}' ({reason}): start it, or unset RAY_ADDRESS; "
            "a cluster with a token also needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
        ) from error
    try:
        yield RaySession(address, is_own=False)
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError if nobody listens at host:port; Ray itself would try for two minutes."""
    host, _, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S).close()


@contextlib.contextmanager
def _own_cluster(
    num_cpus: int | None, temp_dir: Path | None, shows_worker_output: bool, has_dashboard: bool
) -> Iterator[RaySession]:
    for name, value in _environment().items():
        os.environ.setdefault(name, value)  # read here, by the workers, or when a training starts: so it stays set
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)  # it warns that tokens are on
    folder = temp_dir or Path(tempfile.mkdtemp(prefix="rlq-ray-", dir="/tmp"))
    try:
        with _own_answer_to_sigterm():
            context = ray.init(
                address="local",
                num_cpus=num_cpus,
                include_dashboard=has_dashboard,
                object_store_memory=DEFAULT_OBJECT_STORE_BYTES,
                log_to_driver=shows_worker_output,
                logging_level=logging.WARNING,
                runtime_env={"worker_process_setup_hook": "cluster.worker_logging.quieten"},
                _temp_dir=str(folder),
            )
        yield RaySession(context.address_info["gcs_address"], is_own=True)
    finally:
        ray.shutdown()
        if temp_dir is None:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _own_answer_to_sigterm() -> Iterator[None]:
    """Keep what this process does at SIGTERM: Ray would have it print a stack and end with nothing closed."""
    answer = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, answer)


def _environment() -> dict[str, str]:
    """Return what a cluster of our own needs, with a token of its own unless the user says how to authenticate.

    RAY_AUTH_MODE itself is left to Ray, which turns tokens on for a new local cluster and in this process: it was read
    when ray was imported.
    """
    if any(name in os.environ for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        return LOCAL_ENVIRONMENT
    return {**LOCAL_ENVIRONMENT, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
