"""The description of a cluster, from which every manifest is made: frozen, typed, and checked before one is written.

Sections `head` to `job` mean the same on every target; `kubernetes`, `aws` and `slurm` are read by one each. Secrets
are named, never held: a description can be shown to anybody. Loads without ray.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from rlq_ray.config.section import Count, Positive, Section

LABEL = r"^[a-z]([a-z0-9-]*[a-z0-9])?$"
SECRET_VARIABLES = re.compile(r"\b(RAY_AUTH_TOKEN|AWS_SECRET_ACCESS_KEY|AWS_SESSION_TOKEN|MLFLOW_TRACKING_PASSWORD)=")
LEAVING_S = 10
"""Seconds of a notice that are kept for a node's own end, after training has left it."""

Name = Annotated[str, Field(pattern=LABEL, max_length=63)]
NonNegativeCount = Annotated[int, Field(ge=0)]


class HeadNode(Section):
    """The node of Ray's control: it takes no training, except on Slurm, where it is the first of the workers."""

    cpus: Count = 2
    """CPU cores."""
    memory_gib: Positive = 8
    """GiB of memory."""


class WorkerNodes(Section):
    """The nodes that train, all alike."""

    min: NonNegativeCount = 0
    """Nodes that are always there; on Slurm, with which a job can begin, at least 1."""
    max: Count = 4
    """Nodes that there may be; the same as `min` for a cluster of fixed size."""
    cpus: Count = 4
    """CPU cores of each."""
    memory_gib: Positive = 16
    """GiB of memory of each, shared memory included."""
    shm_gib: Positive = 2
    """GiB of shared memory of each, in which Ray keeps objects; training passes little through it."""
    disk_gib: Positive = 50
    """GiB of local disk of each, for logs, checkpoints under way and cached row groups."""
    gpus: NonNegativeCount = 0
    """GPUs of each."""
    spot: bool = False
    """Whether they are taken from what is cheap and can be taken back at a notice."""
    notice_s: Annotated[int, Field(ge=15)] = 120
    """Seconds between the notice that a node is taken back and its end: 120 on AWS, about 25 on Google's spot nodes."""
    idle_timeout_s: Count = 300
    """Seconds without work after which a node beyond `min` is given back."""

    @model_validator(mode="after")
    def _possible(self) -> WorkerNodes:
        if self.min > self.max:
            raise ValueError(f"workers.min is {self.min} and workers.max {self.max}: raise workers.max")
        if self.shm_gib >= self.memory_gib:
            raise ValueError(
                f"workers.shm_gib is {self.shm_gib:g} of workers.memory_gib {self.memory_gib:g}: "
                "leave memory to training"
            )
        return self

    @property
    def leave_within_s(self) -> int:
        """Seconds that training has to leave a node after the notice."""
        return self.notice_s - LEAVING_S


class Stores(Section):
    """Where data, runs and what is tracked lie."""

    storage_uri: str = "s3://rlq/cluster"
    """URI of runs and checkpoints; every node must reach it."""
    s3_endpoint: str = ""
    """Address of an S3 server that is not Amazon's, `http(s)://host[:port]`."""
    s3_region: str = "us-east-1"
    """Region of the S3 server."""
    tracking_uri: str = "http://mlflow.rlq.svc.cluster.local:5000"
    """MLflow server of the team."""

    @model_validator(mode="after")
    def _without_secrets(self) -> Stores:
        for key in ("s3_endpoint", "tracking_uri"):
            value = getattr(self, key)
            if value and urlsplit(value).scheme not in ("http", "https"):
                raise ValueError(
                    f"stores.{key} is '{value}', which other machines cannot reach: give http(s)://host[:port]"
                )
            if "@" in urlsplit(value).netloc:
                raise ValueError(
                    f"stores.{key} holds a user or password: keep them in a secret, and give the host alone"
                )
        if "://" not in self.storage_uri:
            raise ValueError(
                f"stores.storage_uri is '{self.storage_uri}': write s3://bucket/prefix, "
                "or file:///path for a file system that all nodes share"
            )
        return self


class SecretNames(Section):
    """What the secrets are called where they are kept; an empty name for one that is not needed."""

    ray_token: Name = "rlq-ray-token"
    """Kubernetes secret with the key `auth_token`: whoever has it can run anything on the cluster."""
    s3: Name | Literal[""] = "rlq-s3"
    """Kubernetes secret with the keys `access_key_id` and `secret_access_key`; none where pods have a cloud's role."""
    mlflow: Name | Literal[""] = "rlq-mlflow"
    """Kubernetes secret with the keys `username` and `password`."""
    image_pull: Name | Literal[""] = ""
    """Kubernetes secret of the image's registry."""
    token_file: str = "~/.ray/auth_token"
    """File with Ray's token on the machine that calls `ray up`; copied to the nodes. A Slurm job makes its own."""
    file: str = ""
    """File of NAME=value lines that only its owner can read, for AWS and Slurm: such as MLFLOW_TRACKING_PASSWORD."""


class Job(Section):
    """What is to be done; without a command a cluster is made that stays, for `rlq submit`."""

    command: str = ""
    """Shell command of the job, one that goes on when called again: `rlq experiment …`, `… --resume-or-begin`."""
    time_limit_s: Count = 24 * 3600
    """Seconds after which it is ended."""
    retries: NonNegativeCount = 3
    """Times that it is begun again after a failure (Kubernetes) or after it was taken off its nodes (Slurm)."""
    keep_s: NonNegativeCount = 600
    """Seconds for which a Kubernetes job's cluster is kept after its end, for its logs."""

    @model_validator(mode="after")
    def _without_secrets(self) -> Job:
        if found := SECRET_VARIABLES.search(self.command):
            raise ValueError(
                f"job.command sets {found[1]}, but everybody can see a command: name a secret in [secrets]"
            )
        return self


class Kubernetes(Section):
    """For KubeRay."""

    namespace: Name = "rlq"
    """Namespace of everything that is made."""
    operator_namespace: Name = "default"
    """Namespace of KubeRay's operator, which asks the head's dashboard how a job stands."""
    monitoring_namespace: Name = "monitoring"
    """Namespace of Prometheus, which reads the nodes' metrics."""
    user_id: Count = 1000
    """Numeric user of the image, which Kubernetes holds against root."""
    gpu_resource: str = "nvidia.com/gpu"
    """What a GPU is called among a node's resources."""
    node_labels: dict[str, str] = Field(default_factory=dict)
    """Labels of the machines that may train, such as those with one kind of GPU."""
    service_account_annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations of the pods' service account, by which clouds give them a role for S3."""


class Aws(Section):
    """For Ray's cluster launcher on AWS."""

    region: str = "eu-central-1"
    """Region of all instances."""
    availability_zones: tuple[str, ...] = ()
    """Zones in the order of preference; by default those of the subnets."""
    subnet_ids: tuple[str, ...] = ()
    """Private subnets with a way out to S3 and to package indexes; by default those of the security groups' network."""
    security_group_ids: tuple[str, ...] = ()
    """Groups that let instances reach each other and nobody else in. Needed: Ray's own opens port 22 to the world."""
    ami: str = ""
    """Image of all instances: Ubuntu with Python 3.11 or newer, and NVIDIA's driver where there are GPUs. Needed."""
    head_instance_type: str = "m7i.large"
    """Instance type of the head, with at least its CPUs and memory."""
    worker_instance_type: str = "m7i.xlarge"
    """Instance type of the workers, with at least their CPUs, memory and GPUs."""
    head_profile: str = "rlq-head"
    """IAM instance profile of the head: it starts and ends workers, and reads and writes the bucket."""
    worker_profile: str = "rlq-worker"
    """IAM instance profile of the workers: they read and write the bucket."""
    ssh_user: str = "ubuntu"
    """User of the image."""
    reach: Literal["ssm", "vpn"] = "ssm"
    """How `ray up` reaches the head: through AWS Session Manager, or straight to its private address."""
    wheel_folder: str = "dist"
    """Folder with the wheel of this version, on the machine that calls `ray up`."""


class Slurm(Section):
    """For a batch script."""

    partition: str = ""
    """Partition; by default the cluster's own default."""
    account: str = ""
    """Account that is charged."""
    qos: str = ""
    """Quality of service."""
    gpu_kind: str = ""
    """Kind of GPU in the cluster's words, such as a100."""
    setup: tuple[str, ...] = (". .venv/bin/activate",)
    """Shell lines, run in the folder from which the job is submitted, that bring `rlq` and `ray` into the PATH."""
    options: tuple[str, ...] = ()
    """Further options of sbatch, such as --exclusive or --constraint=avx512."""


class ClusterDescription(Section):
    """A whole cluster."""

    name: Annotated[str, Field(pattern=LABEL, max_length=40)] = "rlq"
    """Of the cluster and of all that is made for it."""
    image: str = ""
    """Container image made from `cluster/Dockerfile`, with its registry; by default rlq-ray:VERSION-cpu or -cuda."""
    head: HeadNode = HeadNode()
    workers: WorkerNodes = WorkerNodes()
    stores: Stores = Stores()
    secrets: SecretNames = SecretNames()
    job: Job = Job()
    kubernetes: Kubernetes = Kubernetes()
    aws: Aws = Aws()
    slurm: Slurm = Slurm()

    @property
    def image_name(self) -> str:
        """The image, of the kind that the workers need where none is named."""
        return self.image or f"rlq-ray:{version('rlq-ray')}-{'cuda' if self.workers.gpus else 'cpu'}"
