"""A cluster for Ray's launcher on AWS (`ray up`): a head that stays, and workers that come and go, as spot instances.

Instances take their rights from IAM profiles; no key of AWS is anywhere. They have private addresses alone.
"""

from __future__ import annotations

import shlex
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Any

from cluster.manifests.description import Aws, ClusterDescription
from cluster.manifests.variables import object_store_bytes, run_variables
from rlq_ray.errors import UsageError

HOME = "/home/{user}"
VENV = "~/rlq/venv"
SSM_PROXY = (
    "aws ssm start-session --region {region} --target %h --document-name AWS-StartSSHSession --parameters portNumber=%p"
)
HEAD_DISK_GIB = 50
HEAD_STORE_GIB = 1.0


def launcher_config(description: ClusterDescription) -> dict[str, Any]:
    """Return what `ray up` is given.

    Raises:
        UsageError: the image of the instances or their security groups are missing.
    """
    aws, workers = description.aws, description.workers
    if not aws.ami:
        raise UsageError("aws.ami is missing: give the id of an Ubuntu image with Python 3.11 or newer in that region")
    if not aws.security_group_ids:
        raise UsageError(
            "aws.security_group_ids is missing: give groups that let only each other in, "
            "since the one that Ray makes opens port 22 to the world"
        )
    return {
        "cluster_name": description.name,
        "max_workers": workers.max,
        "idle_timeout_minutes": workers.idle_timeout_s / 60,
        "provider": _provider(aws),
        "auth": _auth(aws),
        "head_node_type": "head",
        "available_node_types": {
            "head": {
                "resources": {"CPU": 0},  # training stays off the node that cannot be replaced
                "node_config": _instance(aws, aws.head_instance_type, aws.head_profile, HEAD_DISK_GIB),
            },
            "workers": {
                "min_workers": workers.min,
                "max_workers": workers.max,
                "resources": {"CPU": workers.cpus, **({"GPU": workers.gpus} if workers.gpus else {})},
                "node_config": _worker(description),
            },
        },
        "file_mounts": _files(description),
        "setup_commands": _setup(aws),
        "head_setup_commands": [],
        "head_start_ray_commands": _start(description, _head_start()),
        "worker_start_ray_commands": _start(description, _worker_start(description)),
    }


def wheel_name() -> str:
    """File name of the package's wheel in this version."""
    return f"rlq_ray-{version('rlq-ray')}-py3-none-any.whl"


def _provider(aws: Aws) -> dict[str, Any]:
    zones = {"availability_zone": ",".join(aws.availability_zones)} if aws.availability_zones else {}
    return {
        "type": "aws",
        "region": aws.region,
        **zones,
        "cache_stopped_nodes": False,  # a spot instance cannot be stopped, and a stopped disk costs money
        "use_internal_ips": True,
    }


def _auth(aws: Aws) -> dict[str, Any]:
    proxy = {"ssh_proxy_command": SSM_PROXY.format(region=aws.region), "ssh_proxy_use_node_id": True}
    return {"ssh_user": aws.ssh_user, **(proxy if aws.reach == "ssm" else {})}


def _instance(aws: Aws, instance_type: str, profile: str, disk_gib: float) -> dict[str, Any]:
    disk = {"VolumeSize": int(disk_gib), "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    return {
        "InstanceType": instance_type,
        "ImageId": aws.ami,
        **({"SubnetIds": list(aws.subnet_ids)} if aws.subnet_ids else {}),
        "SecurityGroupIds": list(aws.security_group_ids),
        "IamInstanceProfile": {"Name": profile},
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": disk}],
    }


def _worker(description: ClusterDescription) -> dict[str, Any]:
    aws, workers = description.aws, description.workers
    instance = _instance(aws, aws.worker_instance_type, aws.worker_profile, workers.disk_gib)
    if workers.spot:
        ends = {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
        instance["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": ends}
    return instance


def _files(description: ClusterDescription) -> dict[str, str]:
    """Return the files that are copied to every node, by their place there; secrets keep their mode 0600."""
    home = HOME.format(user=description.aws.ssh_user)
    wheel = PurePosixPath(description.aws.wheel_folder) / wheel_name()
    secrets = {f"{home}/rlq/secrets.env": description.secrets.file} if description.secrets.file else {}
    return {
        f"{home}/rlq/{wheel.name}": str(wheel),
        f"{home}/rlq/constraints.txt": "constraints.txt",
        f"{home}/.ray/auth_token": description.secrets.token_file,
        **secrets,
    }


def _setup(aws: Aws) -> list[str]:
    home = HOME.format(user=aws.ssh_user)
    return [
        "python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'"
        " || { echo 'aws.ami has no Python 3.11 or newer' >&2; exit 1; }",
        "python3 -c 'import ensurepip' || { sudo apt-get -qq update && sudo apt-get -qq install -y python3-venv; }",
        f"test -x {VENV}/bin/python || python3 -m venv {VENV}",
        f"{VENV}/bin/pip install --quiet -c ~/rlq/constraints.txt ~/rlq/{wheel_name()}",
        f"grep -qs rlq/venv ~/.bashrc || echo 'export PATH={home}/rlq/venv/bin:$PATH' >> ~/.bashrc",
        "chmod 600 ~/.ray/auth_token",
    ]


def _head_start() -> list[str]:
    return [
        "ray start --head --port=6379 --dashboard-host=127.0.0.1 --autoscaling-config=~/ray_bootstrap_config.yaml"
        f" --object-store-memory={object_store_bytes(HEAD_STORE_GIB)}"
    ]


def _worker_start(description: ClusterDescription) -> list[str]:
    store = object_store_bytes(description.workers.shm_gib)
    commands = [f"ray start --address=$RAY_HEAD_IP:6379 --object-store-memory={store}"]
    if description.workers.spot:
        watch = "flock -n /tmp/rlq-spot.lock rlq cluster watch-spot"  # one alone, however often Ray is started
        commands.append(f"RAY_ADDRESS=$RAY_HEAD_IP:6379 nohup {watch} < /dev/null >> /tmp/rlq-spot.log 2>&1 &")
    return commands


def _start(description: ClusterDescription, commands: list[str]) -> list[str]:
    variables = {"RAY_AUTH_MODE": "token", **run_variables(description.stores)}
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    secrets = "set -a; . ~/rlq/secrets.env; set +a; " if description.secrets.file else ""
    return ["ray stop", *(f"export {exports}; {secrets}ulimit -n 65536; {command}" for command in commands)]
