"""A Ray head on the loopback address: its command, its variables, and whether it answers. Imports no ray."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import NamedTuple

LOCAL_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",  # a checkpoint counts from the controller's next look, 2 s by default
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one machine is not preempted
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # workers without a GPU see what the driver sees
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # it prints every line of a worker twice
    "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads make small operators 20 times slower on a shared machine
}
"""For a cluster of one machine, and for those who train on it."""
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Keeps Ray from taking the network's address for 127.0.0.1, in what is started and in what connects to it."""
DEFAULT_OBJECT_STORE_BYTES = 200 * 2**20
"""Training passes its data by storage, so Ray's own store holds little."""
HOST = "127.0.0.1"
LOG_BYTES, LOG_BACKUPS = 20 * 2**20, 2
ANSWER_TIMEOUT_S = 10.0


class RayPorts(NamedTuple):
    """Ports of a head; those that are not named here are chosen by Ray."""

    gcs: int
    dashboard: int
    client: int
    agent: int
    dashboard_metrics: int
    autoscaler_metrics: int
    exporter: int


def head_command(ports: RayPorts, temp_dir: Path, num_cpus: int | None) -> list[str]:
    """Return the command of a head that runs until it is ended.

    Args:
        ports: to listen on.
        temp_dir: for sockets and logs, at most 40 characters.
        num_cpus: logical CPUs; by default those of the machine.
    """
    options = {
        "node-ip-address": HOST,
        "port": ports.gcs,
        "dashboard-host": HOST,
        "dashboard-port": ports.dashboard,
        "ray-client-server-port": ports.client,
        "dashboard-agent-listen-port": ports.agent,
        "metrics-export-port": ports.exporter,
        "include-dashboard": "true",
        "object-store-memory": DEFAULT_OBJECT_STORE_BYTES,
        "temp-dir": temp_dir,
        **({"num-cpus": num_cpus} if num_cpus else {}),
    }
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
    return [*start, *(f"--{key}={value}" for key, value in options.items())]


def head_environment(ports: RayPorts, token_path: Path) -> dict[str, str]:
    """Return the variables of a head that asks everybody for a token."""
    return {
        **LOCAL_ENVIRONMENT,
        **LOOPBACK_ONLY,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path),
        "DASHBOARD_METRIC_PORT": str(ports.dashboard_metrics),
        "AUTOSCALER_METRIC_PORT": str(ports.autoscaler_metrics),
        "RAY_ROTATION_MAX_BYTES": str(LOG_BYTES),
        "RAY_ROTATION_BACKUP_COUNT": str(LOG_BACKUPS),
    }


def head_answers(dashboard_url: str, token: str) -> bool:
    """Tell whether a head has a living node and knows the token."""
    request = urllib.request.Request(
        f"{dashboard_url}/nodes?view=summary", headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as answer:
            nodes = json.load(answer)["data"]["summary"]
        return any(node["raylet"].get("state") == "ALIVE" for node in nodes)
    except (OSError, ValueError, KeyError):
        return False
