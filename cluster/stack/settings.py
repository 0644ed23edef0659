"""What a stack is started with: its ports and Ray's share of the machine, kept in its folder. Starts nothing."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from cluster.object_store import NUM_PORTS, REGION
from cluster.processes import free_ports
from cluster.ray_head import RayPorts
from cluster.stack.card import StackCard
from cluster.stack.ports import HOST, holder, is_free, pick
from rlq_ray.errors import ServiceError

SETTINGS = "settings.json"
BUCKET = "rlq"
ARTIFACT_BUCKET = "rlq-mlflow"


@dataclass(frozen=True)
class Wishes:
    """What a user may ask of a stack; None leaves the choice to us.

    Attributes:
        ray_port: of Ray's GCS.
        dashboard_port: of Ray's dashboard and job server.
        s3_port: of the S3 server.
        mlflow_port: of the MLflow server.
        num_cpus: logical CPUs of Ray.
    """

    ray_port: int | None = None
    dashboard_port: int | None = None
    s3_port: int | None = None
    mlflow_port: int | None = None
    num_cpus: int | None = None


@dataclass(frozen=True)
class Settings:
    """What a stack is started with; `wishes` are those that were put into effect.

    Attributes:
        ray: ports of the Ray head.
        s3: ports of the S3 server, the first of them for clients.
        mlflow: port of the MLflow server.
        ray_temp_dir: for Ray's sockets and logs; the name is short, as sockets need it.
        ray_cwd: where Ray's workers run, so that they find what relative paths name.
        num_cpus: logical CPUs of Ray; None for those of the machine.
    """

    ray: RayPorts
    s3: tuple[int, ...]
    mlflow: int
    ray_temp_dir: str
    ray_cwd: str
    num_cpus: int | None

    def card(self, folder: Path) -> StackCard:
        """Return the addresses for clients."""
        return StackCard(
            folder=folder,
            ray_address=f"{HOST}:{self.ray.gcs}",
            dashboard_url=f"http://{HOST}:{self.ray.dashboard}",
            s3_endpoint=f"http://{HOST}:{self.s3[0]}",
            s3_region=REGION,
            storage_uri=f"s3://{BUCKET}",
            tracking_uri=f"http://{HOST}:{self.mlflow}",
            metrics_url=f"http://{HOST}:{self.ray.exporter}/metrics",
        )

    def ports_of(self, key: str) -> tuple[int, ...]:
        """Return the ports of a server."""
        return {"ray": tuple(self.ray), "s3": self.s3, "mlflow": (self.mlflow,)}[key]


USUAL = Wishes(ray_port=6379, dashboard_port=8265, s3_port=8333, mlflow_port=5000)
NAMES = {"ray_port": "Ray", "dashboard_port": "Ray's dashboard", "s3_port": "the S3 server", "mlflow_port": "MLflow"}


def choose_settings(folder: Path, wishes: Wishes, notes: list[str]) -> Settings:
    """Choose ports for a stack none of whose servers runs: those of last time, or the usual ones, where they are free.

    Raises:
        ServiceError: a port that was asked for is taken, or asked for twice.
    """
    last = read_settings(folder)
    usual = _in_effect(last) if last else USUAL
    ports = {
        name: pick(NAMES[name], getattr(wishes, name), getattr(usual, name) or getattr(USUAL, name), notes)
        for name in NAMES
    }
    if len(set(ports.values())) < len(ports):
        raise ServiceError(f"two servers cannot have one port: {ports}; give others")
    unnamed = 5 + NUM_PORTS - 1
    spare = [port for port in free_ports(unnamed + len(ports)) if port not in ports.values()]
    client, agent, *metrics = spare[:5]
    return Settings(
        ray=RayPorts(ports["ray_port"], ports["dashboard_port"], client, agent, *metrics),
        s3=(ports["s3_port"], *spare[5:unnamed]),
        mlflow=ports["mlflow_port"],
        ray_temp_dir=last.ray_temp_dir if last else f"/tmp/rlq-ray-{os.getuid()}-{secrets.token_hex(4)}",
        ray_cwd=str(Path.cwd()),
        num_cpus=wishes.num_cpus,
    )


def check_settings(settings: Settings, wishes: Wishes, dead: list[str]) -> None:
    """Make sure that the dead servers of a stack, some of which runs, can be started where the others expect them.

    Raises:
        ServiceError: something else is asked for now, or a port is taken.
    """
    for field in fields(Wishes):
        wish, have = getattr(wishes, field.name), getattr(_in_effect(settings), field.name)
        if wish is not None and wish != have:
            raise ServiceError(
                f"the stack runs with {field.name.replace('_', ' ')} {have or 'of the machine'}, not {wish}: "
                "end it first by `rlq down`"
            )
    for key in dead:
        for port in settings.ports_of(key):
            if not is_free(port):
                raise ServiceError(
                    f"port {port}, where the others look for the stack's {key}, is taken by {holder(port)}: "
                    "end that, or move the stack by `rlq down` and `rlq up`"
                )


def read_settings(folder: Path) -> Settings | None:
    """Return what the stack in a folder was last started with; None if it never was."""
    try:
        values = json.loads((folder / SETTINGS).read_text())
        return Settings(**{**values, "ray": RayPorts(*values["ray"]), "s3": tuple(values["s3"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ServiceError(f"{folder / SETTINGS} is damaged ({error}): delete it and call `rlq up`") from error


def write_settings(folder: Path, settings: Settings) -> None:
    """Keep what a stack is started with."""
    (folder / SETTINGS).write_text(json.dumps(asdict(settings), indent=1) + "\n")


def _in_effect(settings: Settings) -> Wishes:
    return Wishes(settings.ray.gcs, settings.ray.dashboard, settings.s3[0], settings.mlflow, settings.num_cpus)
