"""Ray in what the rendered pods leave it: no root, no capability, a file system that cannot be written but for mounts.

Linux does here what a container runtime would do, with the mounts of the manifest; no container is built.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cluster.manifests.pods import HOME
from cluster.manifests.render import render
from cluster.processes import free_ports
from pipelines.cluster_file import read_description

CONFINE = Path(__file__).with_name("confine.sh")
ROOT = Path(__file__).parents[2]
UNSHARE = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
can_confine = os.getuid() == 0 and subprocess.run([*UNSHARE, "true"], check=False, capture_output=True).returncode == 0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_confine, reason="only root can set up a file system"),
]

STEPS = """
set -eu
grep -q '^CapBnd:.0*$' /proc/self/status && echo "no capability, user $(id -u)"
for place in / "$PREFIX" "$PROJECT" /etc; do touch "$place/x" 2>/dev/null && echo "could write to $place"; done
ray start --head {start} --port=$GCS --dashboard-port=$DASHBOARD --ray-client-server-port=$CLIENT > /tmp/head.log 2>&1
export RAY_ADDRESS=$(python -c "import ray; print(ray.util.get_node_ip_address())"):$GCS
env -u RAY_ADDRESS ray start --address=$RAY_ADDRESS --num-cpus=2 {worker} > /tmp/worker.log 2>&1
python -m pipelines.cli cluster wait --nodes 1 --timeout-s 200
RAY_ADDRESS=http://127.0.0.1:$DASHBOARD ray job submit -- python -c '
import ray
from rlq_ray.train import loop
ray.init(log_to_driver=False)
print("a job got", ray.get(ray.remote(lambda: 6 * 7).remote()))'
"""


def test_ray_runs_jobs_where_nothing_can_be_written(tmp_path: Path) -> None:
    documents = yaml.safe_load_all(render("kuberay", read_description(None, ["workers.min=4"]), ["rlq"]).text)
    (cluster,) = (document["spec"] for document in documents if document["kind"] == "RayCluster")
    head, (workers,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    container = head["template"]["spec"]["containers"][0]
    mounts = sorted(mount["mountPath"] for mount in container["volumeMounts"])
    assert container["securityContext"]["readOnlyRootFilesystem"] is True

    ports = dict(zip(("GCS", "DASHBOARD", "CLIENT"), map(str, free_ports(3)), strict=True))
    start = [f"--{name}={value}" for name, value in head["rayStartParams"].items() if name != "object-store-memory"]
    store = "--object-store-memory=100000000"
    steps = STEPS.format(start=" ".join([*start, store]), worker=store)
    assert "object-store-memory" in workers["rayStartParams"]
    bin_folder = Path(sys.executable).parent
    environment = {
        **{variable["name"]: variable["value"] for variable in container["env"] if "value" in variable},
        **{"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "of-this-test-alone-0123456789abcdef"},
        **{"PATH": f"{bin_folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        **{"PREFIX": sys.prefix, "PROJECT": str(ROOT), "OMP_NUM_THREADS": "1"},
        **ports,
    }
    root = tmp_path / "root"
    root.mkdir()
    command = ["bash", str(CONFINE), str(root), HOME, sys.base_prefix, *mounts, "--", "bash", "-c", steps]
    ended = subprocess.run(
        [*UNSHARE, *command], env=environment, check=False, capture_output=True, text=True, timeout=500
    )
    told = ended.stdout + ended.stderr
    assert ended.returncode == 0, told
    assert "no capability, user 1000" in told
    assert "could write to" not in told
    assert "a job got 42" in told
