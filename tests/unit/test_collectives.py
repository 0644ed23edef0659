import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rlq_ray.collectives import gather_with_gradient
from rlq_ray.losses import batch_hard_triplet

WORKER = Path(__file__).parent / "gathered_triplet_worker.py"


def test_without_a_process_group_it_is_the_identity():
    tensor = torch.randn(2, 3)
    assert gather_with_gradient(tensor) is tensor


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """What one process computes on the whole batch, and what each of two ranks computes together."""
    folder = tmp_path_factory.mktemp("ranks")
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 4, generator=generator)
    image, pid = torch.randn(8, 6, generator=generator), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    torch.save({"weight": weight, "image": image, "pid": pid}, folder / "whole.pt")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    ranks = [
        subprocess.Popen([sys.executable, str(WORKER), str(rank), str(folder)], env=environment) for rank in (0, 1)
    ]
    try:
        assert [rank.wait(timeout=60) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
    weight.requires_grad_()
    feat = image @ weight
    loss = batch_hard_triplet(feat, pid, margin=1.0)
    loss.backward()
    single = {"loss": loss.detach(), "gradient": weight.grad, "feat": feat.detach(), "pid": pid}
    return single, [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_every_rank_gets_the_whole_batch_in_order(two_ranks):
    single, ranks = two_ranks
    for rank in ranks:
        torch.testing.assert_close(rank["feat"], single["feat"])
        assert torch.equal(rank["pid"], single["pid"])
        torch.testing.assert_close(rank["loss"], single["loss"])


def test_averaged_gradients_are_those_of_one_process(two_ranks):
    single, ranks = two_ranks
    assert single["gradient"].abs().max() > 0.01
    for rank in ranks:
        torch.testing.assert_close(rank["gradient"], single["gradient"], rtol=0, atol=1e-6)
