"""From a description to the text of a manifest, with a head that says how it was made and what it needs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

import yaml

from cluster.manifests.aws import launcher_config, wheel_name
from cluster.manifests.description import ClusterDescription
from cluster.manifests.kuberay import kuberay_resources
from cluster.manifests.slurm import batch_script

Target = Literal["kuberay", "aws", "slurm"]
LINE_WIDTH = 120


@dataclass(frozen=True)
class Manifest:
    """A file to be written: its name, its text, and whether it is a program."""

    file_name: str
    text: str
    is_program: bool = False


def render(target: Target, description: ClusterDescription, command: Sequence[str]) -> Manifest:
    """Render a description for one target; the same description gives the same text.

    Args:
        target: what is to make the cluster.
        description: of the cluster.
        command: the command line that asks for it, told in the text's head.

    Raises:
        UsageError: the description lacks what the target needs.
    """
    made = f"Made by rlq-ray {version('rlq-ray')}, `{shlex.join(command)}`: change the description and render again."
    name = description.name
    if target == "kuberay":
        header = _comment([made, *_kuberay_notes(description)])
        return Manifest(f"{name}-kuberay.yaml", header + _yaml(*kuberay_resources(description)))
    if target == "aws":
        header = _comment([made, *_aws_notes(description)])
        return Manifest(f"{name}-aws.yaml", header + _yaml(launcher_config(description)))
    header = _comment([made, f"Submit it by `sbatch {name}-slurm.sh` in a folder that all nodes share."])
    return Manifest(f"{name}-slurm.sh", batch_script(description, header), is_program=True)


def _kuberay_notes(description: ClusterDescription) -> list[str]:
    secrets, name = description.secrets, description.name
    needed = [secret for secret in (secrets.ray_token, secrets.s3, secrets.mlflow, secrets.image_pull) if secret]
    return [
        f"For KubeRay 1.7 or newer: `kubectl apply -f {name}-kuberay.yaml`.",
        f"The namespace {description.kubernetes.namespace} must be there, with the secrets {', '.join(needed)}.",
    ]


def _aws_notes(description: ClusterDescription) -> list[str]:
    secrets = [description.secrets.token_file, *([description.secrets.file] if description.secrets.file else [])]
    copied = [f"{description.aws.wheel_folder}/{wheel_name()}", "constraints.txt", *secrets]
    return [
        f"For Ray's launcher: `ray up {description.name}-aws.yaml`, in the project's folder.",
        f"It copies to the nodes: {', '.join(copied)}.",
    ]


def _comment(lines: Sequence[str]) -> str:
    return "".join(f"# {line}\n" for line in lines)


class _Dumper(yaml.SafeDumper):
    """Writes twice what is there twice: people read no anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """Take nothing for the same."""
        return True


def _yaml(*documents: dict[str, Any]) -> str:
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=LINE_WIDTH, explicit_start=True)
