"""The nodes of a Ray cluster that runs: wait until there are enough, and take this machine's out of it in time.

Needs the cluster's address in `RAY_ADDRESS`, or a node of it on this machine, and its token as Ray takes it. It talks to
Ray's control alone, so it works beside any job, and starts no worker.
"""

from __future__ import annotations

import os
import time
from typing import Any

import ray
from ray._private import services
from ray._raylet import GcsClient  # what `ray drain-node` uses; there is no public way
from ray.core.generated.autoscaler_pb2 import DrainNodeReason
from ray.core.generated.gcs_pb2 import GcsNodeInfo

from rlq_ray.errors import ServiceError

POLL_S = 1.0
LOOPBACK = "127.0.0.1"


def wait_for_nodes(count: int, timeout_s: float) -> int:
    """Wait until at least so many nodes take work, and return how many do; the control's own node counts if it has CPUs.

    Raises:
        ServiceError: there are fewer when the time is up, or no cluster answers.
    """
    deadline_s = time.monotonic() + timeout_s
    client = _client()
    while True:
        working = [node for node in _alive(client) if node.resources_total.get("CPU", 0) > 0]
        if len(working) >= count:
            return len(working)
        if time.monotonic() > deadline_s:
            raise ServiceError(
                f"{len(working)} of {count} nodes have come within {timeout_s:.0f} s: see the logs of those that lack"
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
    client = _client()
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


def _client() -> Any:
    try:
        address = services.canonicalize_bootstrap_address_or_die(os.environ.get("RAY_ADDRESS") or "auto")
        return GcsClient(address=address)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ServiceError(
            f"no Ray cluster answers ({reason}): set RAY_ADDRESS to host:port of its control, "
            "and RAY_AUTH_MODE=token with RAY_AUTH_TOKEN_PATH if it asks for a token"
        ) from error


def _alive(client: Any) -> list[Any]:
    return [node for node in client.get_all_node_info().values() if node.state == GcsNodeInfo.GcsNodeState.ALIVE]
