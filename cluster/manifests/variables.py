"""What processes on a node find in their environment: where things are, and how Ray is set. No secrets."""

from __future__ import annotations

from cluster.manifests.description import Stores

RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # a checkpoint counts from the controller's next look, 2 s by default
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "1",  # brings the notice of a node's end to the workers
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # it prints every line of a worker twice
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # workers without a GPU see what the driver sees
}


def run_variables(stores: Stores) -> dict[str, str]:
    """Return the variables of every node, of drivers and workers alike."""
    endpoint = {"AWS_ENDPOINT_URL": stores.s3_endpoint} if stores.s3_endpoint else {}
    return {
        "RLQ_STORAGE": stores.storage_uri,
        "RLQ_TRACKING_URI": stores.tracking_uri,
        "AWS_REGION": stores.s3_region,
        **endpoint,
        **RAY_SETTINGS,
    }


def quantity(amount_gib: float) -> str:
    """Write an amount of memory or disk as Kubernetes does."""
    return f"{amount_gib:g}Gi" if float(amount_gib).is_integer() else f"{round(amount_gib * 1024)}Mi"


def object_store_bytes(shm_gib: float) -> int:
    """Bytes that Ray's object store may take of shared memory, which other libraries use, too."""
    return int(0.9 * shm_gib * 2**30)
