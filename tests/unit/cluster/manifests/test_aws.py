"""The launcher's configuration for AWS: valid by Ray's schema and by Amazon's own model of what an instance takes."""

from __future__ import annotations

import copy
import json
import shlex
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import botocore.validate
import jsonschema
import pytest
import ray.autoscaler
from ray.autoscaler._private.util import prepare_config, validate_config

from cluster.manifests.aws import wheel_name
from pipelines.cluster_file import read_description
from rlq_ray.errors import UsageError

SETTINGS: dict[str, tuple[str, ...]] = {
    "default": (),
    "spot with GPUs": ("workers.spot=true", "workers.gpus=1", "aws.worker_instance_type=g6.2xlarge"),
    "places": ('aws.subnet_ids=["subnet-0"]', 'aws.availability_zones=["eu-central-1a"]', "aws.reach=vpn"),
    "secrets": ("secrets.file=~/.config/rlq/secrets.env",),
}
Launcher = Callable[..., dict[str, Any]]


def ray_schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    return schema


@cache
def ec2_request() -> Any:
    return botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape


def ec2_problems(node_config: dict[str, Any]) -> str:
    """What Amazon's model says about a request for an instance; Ray takes one of the subnets itself."""
    request = {key: value for key, value in node_config.items() if key != "SubnetIds"}
    report = botocore.validate.ParamValidator().validate({**request, "MinCount": 1, "MaxCount": 1}, ec2_request())
    return str(report.generate_report())


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=list(SETTINGS))
def test_rays_schema_holds_before_and_after_rays_defaults(launcher: Launcher, settings: tuple[str, ...]) -> None:
    config = launcher(*settings)
    jsonschema.validate(config, ray_schema())
    validate_config(prepare_config(copy.deepcopy(config)))


@pytest.mark.parametrize("key", ["min_workers", "file_mount", "head_start_commands"])
def test_a_typo_is_caught(launcher: Launcher, key: str) -> None:
    with pytest.raises(jsonschema.ValidationError, match=key):
        jsonschema.validate({**launcher(), key: {}}, ray_schema())


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=list(SETTINGS))
def test_amazons_model_of_an_instance_holds(launcher: Launcher, settings: tuple[str, ...]) -> None:
    for node_type in launcher(*settings)["available_node_types"].values():
        assert ec2_problems(node_type["node_config"]) == ""
        assert "InstanceTyp" in ec2_problems({**node_type["node_config"], "InstanceTyp": "m7i.large"})
        assert "HttpToken" in ec2_problems({**node_type["node_config"], "MetadataOptions": {"HttpToken": "required"}})


def test_workers_are_spot_instances_where_that_is_asked_for(launcher: Launcher) -> None:
    types = launcher("workers.spot=true", "workers.min=1", "workers.max=6")["available_node_types"]
    assert types["workers"]["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert (types["workers"]["min_workers"], types["workers"]["max_workers"]) == (1, 6)
    assert "InstanceMarketOptions" not in types["head"]["node_config"]
    assert types["head"]["resources"]["CPU"] == 0
    assert "InstanceMarketOptions" not in launcher()["available_node_types"]["workers"]["node_config"]


def test_a_spot_worker_watches_for_the_notice_and_no_other_node_does(launcher: Launcher) -> None:
    config = launcher("workers.spot=true")
    assert "rlq cluster watch-spot" in config["worker_start_ray_commands"][-1]
    assert config["worker_start_ray_commands"][-1].endswith("&"), "starting a node must not wait for its end"
    assert "watch-spot" not in str(launcher()) + str(config["head_start_ray_commands"])


def test_rights_come_from_profiles_and_addresses_are_private(launcher: Launcher) -> None:
    config = launcher()
    types = config["available_node_types"]
    profiles = [types[name]["node_config"]["IamInstanceProfile"] for name in ("head", "workers")]
    assert profiles == [{"Name": "rlq-head"}, {"Name": "rlq-worker"}]
    assert "access_key" not in json.dumps(config).lower()
    assert config["provider"]["use_internal_ips"] is True
    for node_type in types.values():
        assert node_type["node_config"]["SecurityGroupIds"] == ["sg-0123456789abcdef0"], "Ray's own opens port 22"
        assert node_type["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
    assert "--dashboard-host=127.0.0.1" in str(config["head_start_ray_commands"])
    assert "ssh_proxy_command" in config["auth"]
    assert "ssh_proxy_command" not in launcher("aws.reach=vpn")["auth"]


def test_every_node_installs_this_version_and_asks_for_the_token(launcher: Launcher) -> None:
    config = launcher()
    assert config["file_mounts"][f"/home/ubuntu/rlq/{wheel_name()}"] == f"dist/{wheel_name()}"
    assert config["file_mounts"]["/home/ubuntu/.ray/auth_token"] == "~/.ray/auth_token"
    assert any(f"-c ~/rlq/constraints.txt ~/rlq/{wheel_name()}" in command for command in config["setup_commands"])
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        for command in commands[1:]:
            assert "RAY_AUTH_MODE=token" in command
            assert "RAY_AUTH_TOKEN=" not in command


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=list(SETTINGS))
def test_its_commands_are_bash(launcher: Launcher, settings: tuple[str, ...]) -> None:
    config = launcher(*settings, "stores.storage_uri=s3://bucket/it's")
    keys = ("setup_commands", "head_start_ray_commands", "worker_start_ray_commands")
    for command in [command for key in keys for command in config[key]]:
        assert subprocess.run(["bash", "-n", "-c", command], check=False, capture_output=True).stderr == b""
    exported = config["head_start_ray_commands"][1].split(";")[0]
    assert "RLQ_STORAGE=s3://bucket/it's" in shlex.split(exported)


def test_variables_of_secrets_are_read_from_their_file(launcher: Launcher) -> None:
    config = launcher("secrets.file=~/.config/rlq/secrets.env")
    assert config["file_mounts"]["/home/ubuntu/rlq/secrets.env"] == "~/.config/rlq/secrets.env"
    assert all(". ~/rlq/secrets.env" in command for command in config["head_start_ray_commands"][1:])


@pytest.mark.parametrize(("missing", "words"), [("aws.ami", "Python 3.11"), ("aws.security_group_ids", "port 22")])
def test_refuses_to_guess(missing: str, words: str) -> None:
    from cluster.manifests.aws import launcher_config

    needs = {"aws.ami": "aws.ami=ami-0", "aws.security_group_ids": 'aws.security_group_ids=["sg-0"]'}
    with pytest.raises(UsageError, match=f"{missing} is missing.*{words}"):
        launcher_config(read_description(None, [setting for key, setting in needs.items() if key != missing]))
