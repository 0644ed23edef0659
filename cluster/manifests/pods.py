"""The pods of a Ray cluster on Kubernetes: as little right as Ray can work with. Knows no KubeRay resource.

No pod runs as root, may write to its image, or holds a token of the Kubernetes API; only the autoscaler's own container
gets one (`API_TOKEN`), since jobs run in the others.
"""

from __future__ import annotations

from typing import Any, Literal

from cluster.manifests.description import ClusterDescription
from cluster.manifests.variables import quantity, run_variables

Role = Literal["head", "worker", "submitter"]

HOME = "/home/rlq"
"""Home of the image's user: empty there, so that a volume can take its place."""
HEAD_GRACE_S = 60
HEAD_SHM_GIB = 1.0
SPOT_NODES = (
    ("cloud.google.com/gke-spot", "true"),
    ("eks.amazonaws.com/capacityType", "SPOT"),
    ("karpenter.sh/capacity-type", "spot"),
    ("kubernetes.azure.com/scalesetpriority", "spot"),
)
"""Labels, and taints where there are any, by which clouds mark machines that can be taken back."""
SECURITY = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
WRITABLE = {"tmp": "/tmp", "ray-logs": "/tmp/ray", "home": HOME, "shared-mem": "/dev/shm"}
"""Volumes by where they are mounted; KubeRay knows `ray-logs` and `shared-mem` by these names."""
PORTS = {"head": {"gcs-server": 6379, "dashboard": 8265, "metrics": 8080}, "worker": {"metrics": 8080}}
API_TOKEN = {"name": "api-token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}
"""Mount by which one container of the head, the autoscaler's, reaches the Kubernetes API."""


def labels(description: ClusterDescription, role: str = "") -> dict[str, str]:
    """Labels of what belongs to a cluster; KubeRay's own services select by others."""
    component = {"app.kubernetes.io/component": role} if role else {}
    return {"app.kubernetes.io/part-of": "rlq-ray", "app.kubernetes.io/instance": description.name, **component}


def pod_template(description: ClusterDescription, role: Role) -> dict[str, Any]:
    """Return the template of the head's pod, a worker's, or of the pod that submits a job."""
    user = description.kubernetes.user_id
    writable = {name: path for name, path in WRITABLE.items() if role != "submitter" or name in ("tmp", "home")}
    pull = description.secrets.image_pull
    spec = {
        "serviceAccountName": service_account(description, role),
        "automountServiceAccountToken": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": description.workers.notice_s if role == "worker" else HEAD_GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **_machines(description, role),
        **({"imagePullSecrets": [{"name": pull}]} if pull else {}),
        "containers": [_container(description, role, writable)],
        "volumes": _volumes(description, role, writable),
    }
    return {"metadata": {"labels": labels(description, role)}, "spec": spec}


def service_account(description: ClusterDescription, role: Role) -> str:
    """Name of a pod's service account; the head's is its own where the autoscaler is given rights."""
    return f"{description.name}-head" if role == "head" and autoscales(description) else description.name


def autoscales(description: ClusterDescription) -> bool:
    """Tell whether the number of workers may change."""
    return description.workers.min < description.workers.max


def _container(description: ClusterDescription, role: Role, writable: dict[str, str]) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": {"head": "ray-head", "worker": "ray-worker", "submitter": "ray-job-submitter"}[role],
        "image": description.image_name,
        "imagePullPolicy": "IfNotPresent",
        "resources": _resources(description, role),
        "securityContext": SECURITY,
        "env": _variables(description, role),
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in writable.items()],
    }
    if role != "submitter":
        container["ports"] = [{"name": name, "containerPort": port} for name, port in PORTS[role].items()]
    if role == "worker":
        leave = ["rlq", "cluster", "leave", "--within-s", str(description.workers.leave_within_s)]
        container["lifecycle"] = {"preStop": {"exec": {"command": leave}}}
    return container


def _resources(description: ClusterDescription, role: Role) -> dict[str, Any]:
    head, workers = description.head, description.workers
    amounts = {
        "head": {"cpu": str(head.cpus), "memory": quantity(head.memory_gib), "ephemeral-storage": quantity(10)},
        "submitter": {"cpu": "500m", "memory": quantity(1), "ephemeral-storage": quantity(1)},
        "worker": {
            "cpu": str(workers.cpus),
            "memory": quantity(workers.memory_gib),
            "ephemeral-storage": quantity(workers.disk_gib),
            **({description.kubernetes.gpu_resource: str(workers.gpus)} if workers.gpus else {}),
        },
    }[role]
    return {"requests": dict(amounts), "limits": dict(amounts)}


def _variables(description: ClusterDescription, role: Role) -> list[dict[str, Any]]:
    values = {"HOME": HOME} if role == "submitter" else {"HOME": HOME, **run_variables(description.stores)}
    secrets = description.secrets
    kept = {
        "AWS_ACCESS_KEY_ID": (secrets.s3, "access_key_id"),
        "AWS_SECRET_ACCESS_KEY": (secrets.s3, "secret_access_key"),
        "MLFLOW_TRACKING_USERNAME": (secrets.mlflow, "username"),
        "MLFLOW_TRACKING_PASSWORD": (secrets.mlflow, "password"),
    }
    return [{"name": name, "value": value} for name, value in values.items()] + [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        for name, (secret, key) in kept.items()
        if secret and role != "submitter"
    ]


def _volumes(description: ClusterDescription, role: Role, names: dict[str, str]) -> list[dict[str, Any]]:
    shm_gib = description.workers.shm_gib if role == "worker" else HEAD_SHM_GIB
    shared_memory = {"medium": "Memory", "sizeLimit": quantity(shm_gib)}
    volumes: list[dict[str, Any]] = [
        {"name": name, "emptyDir": shared_memory if name == "shared-mem" else {}} for name in names
    ]
    if role == "head" and autoscales(description):
        volumes.append({"name": API_TOKEN["name"], "projected": {"defaultMode": 0o444, "sources": _api_token()}})
    return volumes


def _api_token() -> list[dict[str, Any]]:
    """Return what Kubernetes puts into every pod by default, to be mounted in one container alone."""
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]


def _machines(description: ClusterDescription, role: Role) -> dict[str, Any]:
    """Return on which machines a pod may run: spot machines for workers that are to be there, and for nothing else."""
    kubernetes, workers = description.kubernetes, description.workers
    tolerations: list[dict[str, str]] = []
    if role == "worker" and workers.spot:
        terms = [{"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]} for key, value in SPOT_NODES]
        tolerations += [{"key": key, "operator": "Exists"} for key, _ in SPOT_NODES]
    else:
        stays = [{"key": key, "operator": "NotIn", "values": [value]} for key, value in SPOT_NODES]
        terms = [{"matchExpressions": stays}]
    if role == "worker" and workers.gpus:
        tolerations.append({"key": kubernetes.gpu_resource, "operator": "Exists"})
    chosen: dict[str, Any] = {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    }
    if tolerations:
        chosen["tolerations"] = tolerations
    if role == "worker" and kubernetes.node_labels:
        chosen["nodeSelector"] = dict(kubernetes.node_labels)
    return chosen
