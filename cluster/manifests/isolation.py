"""What fences a Ray cluster's pods in on Kubernetes: who may talk to them, to whom they talk, and who they are.

Its policies let nothing through but what is listed: Ray between its own pods, KubeRay's operator, Prometheus, names,
and the two stores.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, urlsplit

from cluster.manifests.description import ClusterDescription
from cluster.manifests.pods import autoscales, labels

NAME_OF_NAMESPACE = "kubernetes.io/metadata.name"
DASHBOARD_PORT = 8265
METRICS_PORT = 8080
API_PORTS = (443, 6443)
"""Where clouds serve the Kubernetes API; policies see the port behind its service."""
NODE_LOCAL_NAMES = "169.254.20.10/32"
"""Where machines with a cache of names of their own answer."""
ANYWHERE = (
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}},  # but the cloud's metadata service and its keys
    {"ipBlock": {"cidr": "::/0", "except": ["fd00:ec2::/32", "fe80::/10"]}},
)
HEAD = {"ray.io/node-type": "head"}


def metadata(description: ClusterDescription, name: str) -> dict[str, Any]:
    """Metadata of a resource of a cluster."""
    return {"name": name, "namespace": description.kubernetes.namespace, "labels": labels(description)}


def identities(description: ClusterDescription) -> list[dict[str, Any]]:
    """Return the service accounts; no pod gets their token by itself."""
    names = [description.name, *([f"{description.name}-head"] if autoscales(description) else [])]
    annotations = dict(description.kubernetes.service_account_annotations)
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {**metadata(description, name), **({"annotations": annotations} if annotations else {})},
            "automountServiceAccountToken": False,
        }
        for name in names
    ]


def head_stays(description: ClusterDescription) -> dict[str, Any]:
    """Return the budget by which maintenance waits for the head, with which the whole cluster would end."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(description, f"{description.name}-head"),
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {**labels(description), **HEAD}}},
    }


def network_policies(description: ClusterDescription) -> list[dict[str, Any]]:
    """Return the policy of all pods, and what the head is allowed beyond it."""
    kubernetes = description.kubernetes
    ours = {"podSelector": {"matchLabels": labels(description)}}
    operator = {
        "namespaceSelector": {"matchLabels": {NAME_OF_NAMESPACE: kubernetes.operator_namespace}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/component": "kuberay-operator"}},
    }
    everyone = {
        "podSelector": ours["podSelector"],
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": [ours]},
            {"from": [_namespace(kubernetes.monitoring_namespace)], "ports": _tcp(METRICS_PORT)},
        ],
        "egress": [{"to": [ours]}, _names(), *_stores(description)],
    }
    head: dict[str, Any] = {
        "podSelector": {"matchLabels": {**labels(description), **HEAD}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [operator], "ports": _tcp(DASHBOARD_PORT)}],
    }
    if autoscales(description):
        head["egress"] = [{"to": list(ANYWHERE), "ports": _tcp(*API_PORTS)}]
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": metadata(description, name),
            "spec": spec,
        }
        for name, spec in ((description.name, everyone), (f"{description.name}-head", head))
    ]


def _stores(description: ClusterDescription) -> list[dict[str, Any]]:
    """Return the rules that lead to the S3 server and the MLflow server, each place once."""
    stores, own = description.stores, description.kubernetes.namespace
    rules: list[dict[str, Any]] = []
    for address in (stores.s3_endpoint or "https://s3.amazonaws.com", stores.tracking_uri):
        parts = urlsplit(address)
        namespace = _namespace_of(parts, own)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        # Behind a service, policies see the pods' own ports, which only its makers know: so none is named.
        rule = {"to": [_namespace(namespace)]} if namespace else {"to": list(ANYWHERE), "ports": _tcp(port)}
        if rule not in rules:
            rules.append(rule)
    return rules


def _namespace_of(address: SplitResult, own: str) -> str | None:
    """Return the namespace of a service in the same Kubernetes cluster; None for a host elsewhere."""
    names = (address.hostname or "").removesuffix(".cluster.local").split(".")
    if len(names) == 1:
        return own
    return names[1] if len(names) == 3 and names[2] == "svc" else None


def _names() -> dict[str, Any]:
    ports = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return {"to": [_namespace("kube-system"), {"ipBlock": {"cidr": NODE_LOCAL_NAMES}}], "ports": ports}


def _namespace(name: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {NAME_OF_NAMESPACE: name}}}


def _tcp(*ports: int) -> list[dict[str, Any]]:
    return [{"protocol": "TCP", "port": port} for port in ports]
