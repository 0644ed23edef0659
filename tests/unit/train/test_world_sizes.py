"""One worker and two, at the same global batch and the same data, train alike; BatchNorm is frozen or synchronised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rlq_ray.config.load import to_dict

WORKER = Path(__file__).parent / "world_worker.py"
TOLERANCE = 1e-5


@pytest.fixture(scope="module", params=["false", "true"], ids=["frozen", "synchronised"])
def told(configure, request, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    folder = tmp_path_factory.mktemp("worlds")
    config = configure("tiny_rlq", "loss.clothes_from_epoch=0", f"model.synchronised_batchnorm={request.param}")
    (folder / "config.json").write_text(json.dumps(to_dict(config)))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen([sys.executable, str(WORKER), str(rank), str(size), str(folder)], env=environment)
        for rank, size in ((0, 1), (0, 2), (1, 2))
    ]
    try:
        assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    finally:
        for process in processes:
            process.kill()
    return {path.stem: torch.load(path, weights_only=True) for path in folder.glob("size*.pt")}


@pytest.mark.parametrize("rank", [0, 1])
def test_losses_agree(told, rank: int) -> None:
    one, two = told["size1_rank0"]["steps"], told[f"size2_rank{rank}"]["steps"]
    assert [step["phase"] for step in one] == [step["phase"] for step in two] == ["tad", "cap"] * 6
    for left, right in zip(one, two, strict=True):
        assert left["names"] == right["names"]
        torch.testing.assert_close(left["terms"], right["terms"], rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("rank", [0, 1])
def test_gradients_agree(told, rank: int) -> None:
    one, two = told["size1_rank0"]["steps"], told[f"size2_rank{rank}"]["steps"]
    for left, right in zip(one, two, strict=True):
        assert left["grads"].keys() == right["grads"].keys()
        assert max(gradient.abs().max() for gradient in left["grads"].values()) > 1e-3
        for name, gradient in left["grads"].items():
            # Behind a synchronised BatchNorm sums of many images cancel, to within 1.6e-5 as was seen.
            torch.testing.assert_close(gradient, right["grads"][name], rtol=1e-3, atol=5 * TOLERANCE, msg=name)


def test_both_ranks_end_with_the_same_weights(told) -> None:
    zero, one = told["size2_rank0"]["weights"], told["size2_rank1"]["weights"]
    for part in ("network", "clothes"):
        for name, tensor in zero[part].items():
            assert torch.equal(tensor, one[part][name]), name


@pytest.mark.parametrize("rank", [0, 1])
def test_running_statistics_agree(told, rank: int) -> None:
    one, two = told["size1_rank0"]["weights"]["network"], told[f"size2_rank{rank}"]["weights"]["network"]
    statistics = [name for name in one if name.endswith(("running_mean", "running_var"))]
    assert statistics
    for name in statistics:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=TOLERANCE, msg=name)
