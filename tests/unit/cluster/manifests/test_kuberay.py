"""Manifests for KubeRay: valid by its own schemas, and as closed as they say."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from rlq_ray.errors import UsageError

CRDS = os.environ.get("RLQ_KUBERAY_CRDS")
needs_crds = pytest.mark.skipif(not CRDS, reason="RLQ_KUBERAY_CRDS names no folder with KubeRay's CRDs")
KUBERNETES = "1.33"
SETTINGS: dict[str, tuple[str, ...]] = {
    "default": (),
    "fixed size": ("workers.min=4",),
    "spot with GPUs": ("workers.spot=true", "workers.gpus=2", 'kubernetes.node_labels={"gpu"="l4"}'),
    "job": ("job.command=rlq train base --resume-or-begin", "workers.min=4"),
    "role instead of keys": ('secrets.s3=""', 'kubernetes.service_account_annotations={"role"="arn"}'),
    "own stores": ("stores.s3_endpoint=http://minio.storage.svc:9000", "stores.tracking_uri=http://mlflow:5000"),
    "private image": ("image=registry.example.org/rlq:1", "secrets.image_pull=pull"),
}
Resources = Callable[..., dict[str, dict[str, Any]]]


def closed(schema: Any) -> Any:
    """A schema that refuses keys which it does not name, where it names any: Kubernetes would drop them in silence."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: closed(part) for key, part in schema.items()}
    if isinstance(parts.get("properties"), dict) and not parts.get("x-kubernetes-preserve-unknown-fields"):
        parts.setdefault("additionalProperties", False)
    if parts.get("x-kubernetes-int-or-string"):
        parts.pop("type", None)  # `anyOf` says both
    return parts


@cache
def validator(kind: str) -> jsonschema.Draft202012Validator:
    assert CRDS
    text = (Path(CRDS) / f"ray.io_{kind.lower()}s.yaml").read_text()
    (version,) = (v for v in yaml.load(text, yaml.CSafeLoader)["spec"]["versions"] if v["name"] == "v1")
    return jsonschema.Draft202012Validator(closed(version["schema"]["openAPIV3Schema"]))


def cluster_of(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (work,) = (resource for resource in found.values() if resource["apiVersion"] == "ray.io/v1")
    spec: dict[str, Any] = work["spec"]
    return spec.get("rayClusterSpec", spec)


def pods_of(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The templates of all pods by what they are."""
    (work,) = (resource for resource in found.values() if resource["apiVersion"] == "ray.io/v1")
    cluster = cluster_of(found)
    pods = {"head": cluster["headGroupSpec"]["template"], "worker": cluster["workerGroupSpecs"][0]["template"]}
    return pods | ({"submitter": work["spec"]["submitterPodTemplate"]} if work["kind"] == "RayJob" else {})


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (str(key), *strings(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    else:
        yield str(value)


@needs_crds
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=list(SETTINGS))
def test_kuberays_schemas_hold(resources: Resources, settings: tuple[str, ...]) -> None:
    works = [resource for resource in resources(*settings).values() if resource["apiVersion"] == "ray.io/v1"]
    assert [work["kind"] for work in works] == ["RayJob" if "job.command" in str(settings) else "RayCluster"]
    for work in works:
        assert [error.message for error in validator(work["kind"]).iter_errors(work)] == []


@needs_crds
@pytest.mark.parametrize(
    "path",
    [
        ("spec", "authOptions", "secretname"),
        ("spec", "workerGroupSpecs", 0, "template", "spec", "terminationGracePeriod"),
        ("spec", "headGroupSpec", "template", "spec", "containers", 0, "securityContext", "runAsNonroot"),
        ("spec", "autoscalerOptions", "idleTimeout"),
    ],
)
def test_a_typo_is_caught(resources: Resources, path: tuple[Any, ...]) -> None:
    work = resources()["RayCluster/rlq"]
    assert validator("RayCluster").is_valid(work)
    spoilt = copy.deepcopy(work)
    place = spoilt
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = "x"
    assert not validator("RayCluster").is_valid(spoilt)


def test_kubernetes_own_schemas_hold(resources: Resources) -> None:
    found = resources('kubernetes.service_account_annotations={"role"="arn"}')
    own = [resource for resource in found.values() if resource["apiVersion"] != "ray.io/v1"]
    assert {resource["kind"] for resource in own} == {"ServiceAccount", "NetworkPolicy", "PodDisruptionBudget"}
    for resource in own:
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)
    policy = copy.deepcopy(found["NetworkPolicy/rlq"])
    policy["spec"]["egres"] = policy["spec"].pop("egress")
    with pytest.raises(kubernetes_validate.ValidationError, match="egres"):
        kubernetes_validate.validate(policy, KUBERNETES, strict=True)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=list(SETTINGS))
def test_no_container_can_do_more_than_it_must(resources: Resources, settings: tuple[str, ...]) -> None:
    """What the Pod Security Standard `restricted` asks for, and a file system that cannot be written."""
    found = resources(*settings)
    containers = [container for pod in pods_of(found).values() for container in pod["spec"]["containers"]]
    options = cluster_of(found).get("autoscalerOptions")
    for container in containers + ([options] if options else []):
        security = container["securityContext"]
        assert security["runAsNonRoot"] is security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])
    for pod in pods_of(found).values():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsUser"] > 0
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"emptyDir", "projected"}
        mounted = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
        assert mounted <= {volume["name"] for volume in spec["volumes"]}


def test_only_the_autoscaler_reaches_the_kubernetes_api(resources: Resources) -> None:
    found = resources()
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    for pod in pods_of(found).values():
        for container in pod["spec"]["containers"]:
            assert account not in [mount["mountPath"] for mount in container["volumeMounts"]]
    autoscaler = cluster_of(found)["autoscalerOptions"]
    assert account in [mount["mountPath"] for mount in autoscaler["volumeMounts"]]
    head_volumes = {volume["name"] for volume in pods_of(found)["head"]["spec"]["volumes"]}
    assert {mount["name"] for mount in autoscaler["volumeMounts"]} <= head_volumes
    assert found["ServiceAccount/rlq-head"]["automountServiceAccountToken"] is False

    fixed = resources("workers.min=4")
    assert "autoscalerOptions" not in cluster_of(fixed)
    assert cluster_of(fixed)["enableInTreeAutoscaling"] is False
    assert "api-token" not in str(fixed)
    assert "ServiceAccount/rlq-head" not in fixed


def test_the_number_of_workers_follows_the_description(resources: Resources) -> None:
    cluster = cluster_of(resources("workers.min=2", "workers.max=7", "workers.idle_timeout_s=90"))
    (group,) = cluster["workerGroupSpecs"]
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (2, 2, 7)
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["idleTimeoutSeconds"] == 90
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_ray_asks_for_the_token_of_a_secret(resources: Resources) -> None:
    for settings in ((), ("job.command=rlq train base",)):
        cluster = cluster_of(resources("secrets.ray_token=our-token", *settings))
        assert cluster["authOptions"] == {"mode": "token", "secretName": "our-token"}


def test_secrets_are_named_and_nothing_else_of_them_is_there(resources: Resources) -> None:
    worker = pods_of(resources())["worker"]["spec"]["containers"][0]
    named = {v["name"]: v["valueFrom"]["secretKeyRef"] for v in worker["env"] if "valueFrom" in v}
    assert named["AWS_SECRET_ACCESS_KEY"] == {"name": "rlq-s3", "key": "secret_access_key"}
    assert named["MLFLOW_TRACKING_PASSWORD"] == {"name": "rlq-mlflow", "key": "password"}
    for variable in worker["env"]:
        is_secret = any(word in variable["name"] for word in ("KEY", "PASSWORD", "TOKEN", "USERNAME"))
        assert not is_secret or "value" not in variable
    without = pods_of(resources('secrets.s3=""', 'secrets.mlflow=""'))["worker"]
    assert "secretKeyRef" not in set(strings(without))


def test_a_spot_worker_waits_for_spot_machines_and_leaves_in_time(resources: Resources) -> None:
    pods = pods_of(resources("workers.spot=true", "workers.notice_s=40"))
    spec = pods["worker"]["spec"]
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    keys = {term["matchExpressions"][0]["key"] for term in terms}
    assert {"cloud.google.com/gke-spot", "karpenter.sh/capacity-type"} <= keys
    assert keys <= {toleration["key"] for toleration in spec["tolerations"]}
    leave = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert leave == ["rlq", "cluster", "leave", "--within-s", "30"]
    assert spec["terminationGracePeriodSeconds"] == 40

    for role, pod in (("head", pods["head"]), ("worker", pods_of(resources())["worker"])):
        affinity = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        (term,) = affinity["nodeSelectorTerms"]
        assert {expression["operator"] for expression in term["matchExpressions"]} == {"NotIn"}, role
        assert "tolerations" not in pod["spec"], role


def test_gpus_are_asked_for_where_they_are(resources: Resources) -> None:
    found = resources(
        "workers.gpus=2", "kubernetes.gpu_resource=amd.com/gpu", 'kubernetes.node_labels={"kind"="mi300"}'
    )
    spec = pods_of(found)["worker"]["spec"]
    assert spec["containers"][0]["resources"]["limits"]["amd.com/gpu"] == "2"
    assert spec["containers"][0]["image"].endswith("-cuda")
    assert spec["nodeSelector"] == {"kind": "mi300"}
    assert {"key": "amd.com/gpu", "operator": "Exists"} in spec["tolerations"]
    assert "nodeSelector" not in pods_of(found)["head"]["spec"]


def test_shared_memory_holds_the_object_store(resources: Resources) -> None:
    cluster = cluster_of(resources("workers.shm_gib=4"))
    (group,) = cluster["workerGroupSpecs"]
    volumes = {volume["name"]: volume for volume in group["template"]["spec"]["volumes"]}
    assert volumes["shared-mem"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "4Gi"}
    assert 0 < int(group["rayStartParams"]["object-store-memory"]) < 4 * 2**30


def test_a_job_ends_with_its_cluster_and_is_tried_again(resources: Resources) -> None:
    settings = ("job.command=rlq experiment people", "job.retries=5", "job.time_limit_s=3600", "job.keep_s=60")
    spec = resources(*settings)["RayJob/rlq"]["spec"]
    assert spec["entrypoint"] == "rlq experiment people"
    assert spec["shutdownAfterJobFinishes"] is True
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (5, 3600, 60)
    submitter = spec["submitterPodTemplate"]["spec"]
    assert "valueFrom" not in set(strings(submitter)), "it needs no keys but Ray's token, which KubeRay gives it"


def policies(found: dict[str, dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    return found["NetworkPolicy/rlq"]["spec"], found["NetworkPolicy/rlq-head"]["spec"]


def test_the_network_is_closed_but_for_what_ray_and_the_stores_need(resources: Resources) -> None:
    found = resources(
        "stores.s3_endpoint=https://s3.example.org:9443", "stores.tracking_uri=http://mlflow.tools.svc:5000"
    )
    everyone, head = policies(found)
    ours = everyone["podSelector"]["matchLabels"]
    for pod in pods_of(found).values():
        assert ours.items() <= pod["metadata"]["labels"].items()
    for policy in (everyone, head):
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert all(rule.get("from") for rule in policy["ingress"]), "a rule without `from` lets everybody in"
        assert all(rule.get("to") for rule in policy.get("egress", [])), "a rule without `to` leads everywhere"
    peers = [peer for rule in everyone["egress"] for peer in rule["to"]]
    assert {"podSelector": {"matchLabels": ours}} in peers
    ports = {port["port"] for rule in everyone["egress"] for port in rule.get("ports", [])}
    assert ports == {53, 9443}
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "tools"}}} in peers
    for block in [peer["ipBlock"] for peer in peers if "ipBlock" in peer and peer["ipBlock"]["cidr"] == "0.0.0.0/0"]:
        assert block["except"] == ["169.254.0.0/16"], "the cloud's metadata service gives keys to whoever asks"


def test_the_head_answers_the_operator_and_asks_the_api_only_to_scale(resources: Resources) -> None:
    _, head = policies(resources("kubernetes.operator_namespace=kuberay"))
    (rule,) = head["ingress"]
    (peer,) = rule["from"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "kuberay"}
    assert [port["port"] for port in rule["ports"]] == [8265]
    assert {port["port"] for rule in head["egress"] for port in rule["ports"]} == {443, 6443}
    assert "egress" not in policies(resources("workers.min=4"))[1]


def test_maintenance_waits_for_the_head(resources: Resources) -> None:
    found = resources()
    budget = found["PodDisruptionBudget/rlq-head"]["spec"]
    selected = budget["selector"]["matchLabels"]
    assert selected.pop("ray.io/node-type") == "head"  # a label that KubeRay sets
    assert selected.items() <= pods_of(found)["head"]["metadata"]["labels"].items()
    assert budget["minAvailable"] == 1, "Kubernetes takes no other form for pods of a foreign controller"


def test_refuses_a_store_that_pods_do_not_share(resources: Resources) -> None:
    with pytest.raises(UsageError, match="which pods do not share: give s3://"):
        resources("stores.storage_uri=file:///scratch")
