import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from rlq_ray.config.schema import ModelConfig
from rlq_ray.models import ReIDNetwork
from rlq_ray.types import ClassSpace

CLASSES = ClassSpace(("a", "b"), ("a1", "b1"), (0, 1), pose_clusters=2)


@pytest.fixture
def one_rank(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("one_rank")
def test_steps_with_and_without_pose_alternate():
    network = ReIDNetwork(ModelConfig(backbone="narrow", narrow_width=8, weights="random"), CLASSES)
    parallel = DistributedDataParallel(network, find_unused_parameters=True)
    image = torch.randn(3, 3, 64, 32)
    for with_pose in (True, False, True):
        network.zero_grad(set_to_none=True)
        out = parallel(image, with_pose=with_pose)
        loss = out.identity_BP.square().sum() + (out.pose_BK.square().sum() if with_pose else 0)
        loss.backward()
        assert network.identity_head.weight.grad.abs().max() > 0
        assert (network.pose_head.weight.grad is not None) == with_pose
        assert network.gender_head.weight.grad is None, "its logits took no part in the loss"
