"""Rendering for the tests: descriptions with settings of a command line, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from cluster.manifests.render import Target, render
from pipelines.cluster_file import read_description

AWS_NEEDS = ('aws.ami="ami-0123456789abcdef0"', 'aws.security_group_ids=["sg-0123456789abcdef0"]')


def rendered(target: Target, *settings: str) -> str:
    if target == "aws":
        settings = (*AWS_NEEDS, *settings)
    return render(target, read_description(None, settings), ["rlq", "cluster", "render"]).text


@pytest.fixture
def resources() -> Callable[..., dict[str, dict[str, Any]]]:
    """Render for KubeRay; return the resources by kind and name."""

    def of(*settings: str) -> dict[str, dict[str, Any]]:
        documents = yaml.safe_load_all(rendered("kuberay", *settings))
        return {f"{document['kind']}/{document['metadata']['name']}": document for document in documents}

    return of


@pytest.fixture
def launcher() -> Callable[..., dict[str, Any]]:
    """Render for AWS; return the launcher's configuration."""

    def of(*settings: str) -> dict[str, Any]:
        config: dict[str, Any] = yaml.safe_load(rendered("aws", *settings))
        return config

    return of


@pytest.fixture
def script() -> Callable[..., str]:
    """Render for Slurm; return the batch script."""
    return lambda *settings: rendered("slurm", *settings)
