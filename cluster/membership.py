"""Who belongs to a Ray cluster that runs: wait until enough nodes do, and take this machine's out of it in time.

The cluster is that of `RAY_ADDRESS`, or one with a node on this machine; its token is found as Ray finds it. Works
beside any job, and starts no worker.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import services
from ray._raylet import GcsClient  # type: ignore[attr-defined] # what `ray drain-node` uses; there is no public way
from ray.autoscaler.sdk import request_resources
from ray.core.generated.autoscaler_pb2 import DrainNodeReason
from ray.core.generated.gcs_pb2 import GcsNodeInfo

from cluster.ray_local import session
from rlq_ray.errors import ServiceError

POLL_S = 1.0
LOOPBACK = "127.0.0.1"


def wait_for_nodes(count: int, timeout_s: float, *, cpus: int = 1, gpus: int = 0) -> int:
    """Ask an autoscaler, if there is one, for the nodes that lack, and wait until so many take work.

    Args:
        count: nodes to wait for; that of Ray's control counts if it takes work, too.
        timeout_s: seconds after which waiting is given up.
        cpus: that a node must have to count.
        gpus: that a node must have to count.

    Returns:
        The number of nodes that take work; an autoscaler keeps them until they were idle for its time.

    Raises:
        ServiceError: there are fewer when the time is up, or no cluster answers.
    """
    deadline_s = time.monotonic() + timeout_s
    with session(_address()), _asked_for([{"CPU": cpus, **({"GPU": gpus} if gpus else {})}] * count):
        while True:
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            fit = sum(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes)
            if fit >= count:
                return fit
            if time.monotonic() > deadline_s:
                raise ServiceError(
                    f"{fit} of {count} nodes with {cpus} CPUs and {gpus} GPUs have come within {timeout_s:.0f} s: "
                    "see the logs of those that lack, and what the autoscaler may start"
                )
            time.sleep(POLL_S)


def leave(within_s: float, reason: str = "the machine is taken back") -> list[str]:
    """Tell Ray that this machine's nodes end soon, and wait until their work has left them or the time is up.

    Ray Train passes the notice on to its workers, and nothing new is placed on the nodes. The node of Ray's control
    cannot leave.

    Returns:
        Ids of the nodes that leave; none if this machine has none.

    Raises:
        ServiceError: Ray refuses, or no cluster answers.
    """
    deadline_s = time.time() + within_s
    client = _control()
    own = {ray.util.get_node_ip_address(), LOOPBACK}
    here = [node for node in _alive(client) if node.node_manager_address in own and not node.is_head_node]
    leaving = [node.node_id.hex() for node in here]
    for node_id in leaving:
        accepted, refusal = client.drain_node(
            node_id, DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION"), reason, int(deadline_s * 1000)
        )
        if not accepted:
            raise ServiceError(f"Ray does not let the node {node_id} go ({refusal}): end its work first")
    while time.time() < deadline_s and any(node.node_id.hex() in leaving for node in _alive(client)):
        time.sleep(min(POLL_S, max(0.0, deadline_s - time.time())))
    return leaving


@contextmanager
def _asked_for(bundles: list[dict[str, int]]) -> Iterator[None]:
    """Hold a wish for resources; one that stayed would keep the nodes for ever."""
    request_resources(bundles=bundles)
    try:
        yield
    finally:
        request_resources(bundles=[])


def _address() -> str:
    return os.environ.get("RAY_ADDRESS") or "auto"


def _control() -> Any:
    try:
        return GcsClient(address=services.canonicalize_bootstrap_address_or_die(_address()))
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ServiceError(
            f"no Ray cluster answers at '{_address()}' ({reason}): set RAY_ADDRESS to host:port of its control, "
            "and RAY_AUTH_MODE=token with RAY_AUTH_TOKEN_PATH if it asks for a token"
        ) from error


def _alive(client: Any) -> list[Any]:
    return [node for node in client.get_all_node_info().values() if node.state == GcsNodeInfo.GcsNodeState.ALIVE]
