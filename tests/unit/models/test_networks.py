import pytest
import torch
import torch.distributed as dist
from torch.nn import functional as F

from rlq_ray.config.schema import ModelConfig
from rlq_ray.errors import UsageError
from rlq_ray.models import ReIDNetwork
from rlq_ray.types import ClassSpace

CLASSES = ClassSpace(("a", "b", "c"), ("a1", "a2", "b1", "c1"), (0, 0, 1, 2), pose_clusters=5)
FEATURE_SIZES = {"narrow": 16 * 8, "resnet18": 1024, "resnet50": 4096}


def build(backbone="narrow", seed=0, **settings):
    torch.manual_seed(seed)
    return ReIDNetwork(ModelConfig(backbone=backbone, narrow_width=8, weights="random", **settings), CLASSES)


def images(num=3):
    return torch.randn(num, 3, 64, 32, generator=torch.Generator().manual_seed(7))


def count_calls(module):
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


@pytest.mark.parametrize("backbone", FEATURE_SIZES)
def test_shapes(backbone):
    network, size = build(backbone), FEATURE_SIZES[backbone]
    out = network(images(), with_pose=True)
    shapes = {name: tuple(tensor.shape) for name, tensor in out._asdict().items()}
    assert network.feature_size == size
    assert shapes == {
        "clothes_BD": (3, size),
        "identity_BD": (3, size),
        "pose_BD": (3, size),
        "identity_clothes_BP": (3, 3),
        "identity_BP": (3, 3),
        "pose_BK": (3, 6),
        "gender_B2": (3, 2),
    }
    assert network.clothes_branch[:2](network.layer2(network.stem_to_layer1(images()))).shape[2:] == (4, 2)


@pytest.mark.parametrize(("single_branch", "size"), [(False, 256), (True, 128)])
def test_embedding_size(single_branch, size):
    network = build(single_branch=single_branch, pose_branch=False, gender_head=False).eval()
    assert network.embedding_size == size
    assert network.embed(images()).shape == (3, size)


def test_base_model_has_neither_pose_nor_gender():
    network = build(pose_branch=False, gender_head=False)
    out = network(images(), with_pose=True)
    assert not network.has_pose
    assert (out.pose_BD, out.pose_BK, out.gender_B2) == (None, None, None)
    assert not [name for name in network.state_dict() if "pose" in name or "gender" in name]


def test_a_single_branch_serves_both_and_runs_once():
    network = build(single_branch=True, pose_branch=False, gender_head=False)
    calls = count_calls(network.identity_branch)
    out = network(images(), with_pose=True)
    assert out.clothes_BD is out.identity_BD
    assert out.identity_clothes_BP is None
    clothes_BD, identity_BD = network.features(images())
    assert clothes_BD is identity_BD
    assert len(calls) == 2
    network.eval().embed(images())
    assert len(calls) == 4, "the image and its mirror image"
    assert not [name for name in network.state_dict() if "clothes" in name or "pose" in name or "gender" in name]


def test_refuses_a_pose_head_without_clusters():
    classes = ClassSpace(("a",), ("a1",), (0,), pose_clusters=0)
    with pytest.raises(UsageError, match=r"model\.pose_branch=false"):
        ReIDNetwork(ModelConfig(backbone="narrow", weights="random"), classes)


@pytest.fixture
def group_of_one(tmp_path):
    """The process group of an elastic training whose other workers are gone."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_synchronised_batchnorm_in_a_group_of_one_is_batchnorm(group_of_one):
    test_synchronised_batchnorm_on_one_worker_is_batchnorm()


def test_synchronised_batchnorm_on_one_worker_is_batchnorm():
    synchronised, plain = build(synchronised_batchnorm=True), build()
    assert synchronised.state_dict().keys() == plain.state_dict().keys()
    for _ in range(2):
        for ours, theirs in zip(synchronised.features(images()), plain.features(images()), strict=True):
            assert torch.equal(ours, theirs)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(synchronised.state_dict()[name], tensor), name


def test_narrow_has_about_two_million_parameters():
    network = ReIDNetwork(ModelConfig(backbone="narrow", weights="random"), CLASSES)
    assert 1.8e6 < sum(parameter.numel() for parameter in network.parameters()) < 2.2e6


def test_same_seed_same_weights_and_other_seed_others():
    first, second, other = (network.state_dict() for network in (build(), build(), build(seed=1)))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["stem_to_layer1.0.weight"], other["stem_to_layer1.0.weight"])


def test_branches_share_no_parameter_and_start_apart():
    network = build()
    clothes, identity = list(network.clothes_branch.parameters()), list(network.identity_branch.parameters())
    assert not {id(p) for p in clothes} & {id(p) for p in identity}
    assert not torch.equal(clothes[0], identity[0])


def test_logits_are_heads_of_their_branches():
    network = build().eval()
    out = network(images(), with_pose=True)
    torch.testing.assert_close(out.identity_clothes_BP, F.linear(out.clothes_BD, network.identity_clothes_head.weight))
    torch.testing.assert_close(out.identity_BP, F.linear(out.identity_BD, network.identity_head.weight))
    torch.testing.assert_close(out.pose_BK, F.linear(out.pose_BD, network.pose_head.weight))
    torch.testing.assert_close(out.gender_B2, F.linear(out.identity_BD, network.gender_head.weight))


def test_pose_branch_forks_after_layer1():
    network = build().eval()
    expected = network.pose_branch(network.stem_to_layer1(images()))
    torch.testing.assert_close(network(images(), with_pose=True).pose_BD, expected)


def test_embed_equals_the_formula():
    network = build().eval()
    upright, mirrored = network(images()), network(torch.flip(images(), dims=[3]))
    total = torch.cat([upright.clothes_BD + mirrored.clothes_BD, upright.identity_BD + mirrored.identity_BD], dim=1)
    expected = torch.stack([row / row.square().sum().sqrt() for row in total])
    torch.testing.assert_close(network.embed(images()), expected)


def test_a_single_branchs_embedding_equals_the_formula():
    network = build(single_branch=True, pose_branch=False, gender_head=False).eval()
    total = network(images()).identity_BD + network(torch.flip(images(), dims=[3])).identity_BD
    expected = torch.stack([row / row.square().sum().sqrt() for row in total])
    torch.testing.assert_close(network.embed(images()), expected)


def test_embed_does_not_tell_left_from_right():
    network = build().eval()
    torch.testing.assert_close(network.embed(images()), network.embed(images().flip(3)))
    assert not torch.allclose(network(images()).identity_BD, network(images().flip(3)).identity_BD, atol=1e-3)


def test_pose_branch_runs_only_when_asked_for():
    network = build()
    calls = count_calls(network.pose_branch)
    network(images())
    network.eval().embed(images())
    assert not calls
    network(images(), with_pose=True)
    assert len(calls) == 1


def test_layout_and_autocast_change_little_and_results_stay_fp32():
    network = build().eval()
    expected = network(images(), with_pose=True)
    network = network.to(memory_format=torch.channels_last)
    with torch.no_grad():
        again = network(images().to(memory_format=torch.channels_last), with_pose=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            coarse = network(images(), with_pose=True)
    for exact, same, near in zip(expected, again, coarse, strict=True):
        torch.testing.assert_close(same, exact, rtol=1e-4, atol=1e-5)
        assert near.dtype == torch.float32
        assert (near - exact).norm() < 0.05 * exact.norm()


def test_every_parameter_of_a_single_branch_gets_a_gradient():
    network = build(single_branch=True, pose_branch=False, gender_head=False)
    network(images()).identity_BP.square().sum().backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]


def test_every_parameter_gets_a_gradient():
    network = build()
    out = network(images(), with_pose=True)
    sum(
        logits.square().sum() for logits in (out.identity_clothes_BP, out.identity_BP, out.pose_BK, out.gender_B2)
    ).backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
