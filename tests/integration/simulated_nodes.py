"""A Ray cluster of several nodes on this machine, in a process that does what it is told in lines of JSON on stdin.

`python simulated_nodes.py FOLDER`. The head has no CPU, every other node has one. All ends with stdin.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import ray
from ray._private.state import available_resources_per_node
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import DrainNodeReason

SOON_NOTICED = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 4,
}
"""A node that does not answer is gone after 24 s instead of a minute; machines on which tests run may be slow."""


class Nodes:
    """The cluster; nodes are named by their ids."""

    def __init__(self, folder: str) -> None:
        head = {"num_cpus": 0, "temp_dir": folder, "include_dashboard": False, "_system_config": SOON_NOTICED}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        ray.init(address=self._cluster.address, log_to_driver=False, logging_level="warning")
        self._nodes: dict[str, Any] = {}

    def address(self) -> str:
        """Say where drivers find the cluster."""
        return str(self._cluster.address)

    def add(self) -> str:
        """Add a node."""
        node = self._cluster.add_node(num_cpus=1)
        self._nodes[node.node_id] = node
        return str(node.node_id)

    def kill(self, node: str) -> None:
        """End a node as a power cut does."""
        self._cluster.remove_node(self._nodes.pop(node), allow_graceful=False)

    def drain(self, node: str, seconds: float) -> None:
        """Give notice, as a cloud does, that a node is taken back."""
        reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        deadline_ms = int((time.time() + seconds) * 1000)
        accepted, refusal = GcsClient(address=self.address()).drain_node(node, reason, "taken back", deadline_ms)
        if not accepted:
            raise RuntimeError(refusal)

    def busy(self) -> list[str]:
        """Name the nodes whose CPU is in use."""
        free = available_resources_per_node()
        return [node for node in self._nodes if node in free and not free[node].get("CPU")]

    def end(self) -> None:
        """End all of it."""
        ray.shutdown()
        self._cluster.shutdown()


def main() -> None:
    """Obey until stdin ends."""
    nodes = Nodes(sys.argv[1])
    try:
        for line in sys.stdin:
            name, *arguments = json.loads(line)
            answer = getattr(nodes, name)(*arguments)
            sys.stdout.write(f"answer {json.dumps(answer)}\n")
            sys.stdout.flush()
    finally:
        nodes.end()


if __name__ == "__main__":
    main()
