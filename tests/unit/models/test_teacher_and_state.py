import pytest
import torch

from rlq_ray.config.schema import ModelConfig
from rlq_ray.errors import CheckpointError
from rlq_ray.models import FrozenTeacher, ReIDNetwork, load_network
from rlq_ray.types import ClassSpace

CLASSES = ClassSpace(("a", "b", "c"), ("a1", "b1", "c1"), (0, 1, 2), pose_clusters=5)
CONFIG = ModelConfig(backbone="narrow", narrow_width=8, weights="random")


def image():
    return torch.randn(3, 3, 64, 32, generator=torch.Generator().manual_seed(7))


def test_teacher_is_frozen_whatever_is_asked_of_it():
    teacher = FrozenTeacher(ReIDNetwork(CONFIG, CLASSES))
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    teacher.train()
    torch.nn.Sequential(teacher).train()
    features = teacher(image().requires_grad_())
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not any(feat_BD.requires_grad for feat_BD in features)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())


def test_teacher_gives_clothes_then_identity_feature():
    network = ReIDNetwork(CONFIG, CLASSES).eval()
    expected = network(image())
    clothes_BD, identity_BD = FrozenTeacher(network)(image())
    torch.testing.assert_close(clothes_BD, expected.clothes_BD)
    torch.testing.assert_close(identity_BD, expected.identity_BD)


def test_a_state_makes_the_same_network_again():
    network = ReIDNetwork(CONFIG, CLASSES)
    network(image())
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    expected = network.eval().embed(image())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    rebuilt = load_network(CONFIG.model_copy(update={"weights": "imagenet"}), CLASSES, state).eval()
    assert torch.equal(rebuilt.embed(image()), expected)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"narrow_width": 9}, "of another shape: .* and "),
        ({"pose_branch": False}, "unexpected: pose_branch"),
        ({"backbone": "resnet18"}, "missing: .*; unexpected: "),
    ],
)
def test_refuses_the_checkpoint_of_another_model(settings, named):
    state = ReIDNetwork(CONFIG, CLASSES).state_dict()
    with pytest.raises(CheckpointError, match=f"checkpoint of another model: {named}"):
        load_network(CONFIG.model_copy(update=settings), CLASSES, state)


def test_refuses_the_checkpoint_of_another_data_set():
    state = ReIDNetwork(CONFIG, CLASSES).state_dict()
    other = ClassSpace(("a", "b"), ("a1", "b1"), (0, 1), pose_clusters=5)
    with pytest.raises(CheckpointError, match=r"identity_head\.weight \(3, 128\) instead of \(2, 128\)"):
        load_network(CONFIG, other, state)
