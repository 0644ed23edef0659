"""A Ray cluster for KubeRay: a RayCluster that stays, or a RayJob with a cluster of its own if there is a command."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from cluster.manifests.description import ClusterDescription
from cluster.manifests.isolation import head_stays, identities, metadata, network_policies
from cluster.manifests.pods import API_TOKEN, HEAD_SHM_GIB, SECURITY, WRITABLE, autoscales, pod_template
from cluster.manifests.variables import object_store_bytes, quantity
from rlq_ray.errors import UsageError

SUBMITTER_RETRIES = 2
"""Times that submitting is tried again; the job itself is submitted once."""


def kuberay_resources(description: ClusterDescription) -> list[dict[str, Any]]:
    """Return all resources, in the order in which they are to be made.

    Raises:
        UsageError: the store is one that pods do not share.
    """
    if not description.stores.storage_uri.startswith("s3://"):
        raise UsageError(
            f"stores.storage_uri is {description.stores.storage_uri}, which pods do not share: give s3://bucket/prefix"
        )
    work = _job(description) if description.job.command else _standing(description)
    return [*identities(description), *network_policies(description), head_stays(description), work]


def _standing(description: ClusterDescription) -> dict[str, Any]:
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": metadata(description, description.name),
        "spec": _cluster(description),
    }


def _job(description: ClusterDescription) -> dict[str, Any]:
    job = description.job
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": metadata(description, description.name),
        "spec": {
            "entrypoint": job.command,
            "submissionMode": "K8sJobMode",
            "activeDeadlineSeconds": job.time_limit_s,
            "backoffLimit": job.retries,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": job.keep_s,
            "submitterConfig": {"backoffLimit": SUBMITTER_RETRIES},
            "submitterPodTemplate": pod_template(description, "submitter"),
            "rayClusterSpec": _cluster(description),
        },
    }


def _cluster(description: ClusterDescription) -> dict[str, Any]:
    workers = description.workers
    head_start = {
        "num-cpus": "0",  # training stays off the node that cannot be replaced
        "num-gpus": "0",
        "dashboard-host": "0.0.0.0",  # the operator asks it; the policy and the token keep others out
        "object-store-memory": str(object_store_bytes(HEAD_SHM_GIB)),
    }
    return {
        "rayVersion": version("ray"),
        "authOptions": {"mode": "token", "secretName": description.secrets.ray_token},
        **(_autoscaling(description) if autoscales(description) else {"enableInTreeAutoscaling": False}),
        "headGroupSpec": {
            "serviceType": "ClusterIP",
            "rayStartParams": head_start,
            "template": pod_template(description, "head"),
        },
        "workerGroupSpecs": [
            {
                "groupName": "workers",
                "replicas": workers.min,
                "minReplicas": workers.min,
                "maxReplicas": workers.max,
                "rayStartParams": {"object-store-memory": str(object_store_bytes(workers.shm_gib))},
                "template": pod_template(description, "worker"),
            }
        ],
    }


def _autoscaling(description: ClusterDescription) -> dict[str, Any]:
    amounts = {"cpu": "500m", "memory": quantity(1)}
    mounts = [{"name": name, "mountPath": path} for name, path in WRITABLE.items() if name != "shared-mem"]
    return {
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {
            "version": "v2",  # it drains a node before it ends it
            "upscalingMode": "Default",
            "idleTimeoutSeconds": description.workers.idle_timeout_s,
            "imagePullPolicy": "IfNotPresent",
            "resources": {"requests": dict(amounts), "limits": dict(amounts)},
            "securityContext": SECURITY,
            "env": [{"name": "HOME", "value": WRITABLE["home"]}],
            "volumeMounts": [*mounts, API_TOKEN],
        },
    }
