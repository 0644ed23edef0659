import pytest
import torch
import torchvision
from torchvision.models.feature_extraction import create_feature_extractor

from rlq_ray.config.schema import ModelConfig
from rlq_ray.errors import CheckpointError, UsageError
from rlq_ray.models import ReIDNetwork
from rlq_ray.models.backbones import build_backbone, read_pretrained
from rlq_ray.types import ClassSpace

CLASSES = ClassSpace(("a", "b"), ("a1", "b1"), (0, 1), pose_clusters=2)


@pytest.fixture(scope="module")
def resnet18():
    torch.manual_seed(0)
    return torchvision.models.resnet18().eval()


def save(state, path):
    torch.save(state, path)
    return ModelConfig(backbone="resnet18", weights=str(path))


def test_random_reads_nothing():
    assert read_pretrained(ModelConfig(weights="random")) is None


def test_pretrained_parts_are_torchvisions_with_layer4_at_stride_1(resnet18, tmp_path):
    config = save(resnet18.state_dict(), tmp_path / "weights.pth")
    parts = build_backbone(config, read_pretrained(config))
    stem, layer2, layer3, layer4 = (module.eval() for module in parts[:4])
    image = torch.randn(2, 3, 64, 32)
    map_BCHW = layer3(layer2(stem(image)))
    whole = create_feature_extractor(resnet18, ["layer3", "layer4"])(image)
    torch.testing.assert_close(map_BCHW, whole["layer3"])
    assert layer4(map_BCHW).shape == (2, 512, 4, 2)
    for module in layer4.modules():
        if isinstance(module, torch.nn.Conv2d) and module.in_channels == 256:
            module.stride = (2, 2)
    torch.testing.assert_close(layer4(map_BCHW), whole["layer4"])


def test_branches_start_from_the_same_pretrained_layers(resnet18, tmp_path):
    network = ReIDNetwork(save(resnet18.state_dict(), tmp_path / "weights.pth"), CLASSES)
    expected = resnet18.layer3[0].conv1.weight
    for layer3 in (network.clothes_branch[0], network.identity_branch[0], network.pose_branch[1]):
        assert torch.equal(layer3[0].conv1.weight, expected)
    assert torch.equal(network.pose_branch[0][0].conv1.weight, network.layer2[0].conv1.weight)
    assert network.pose_branch[0][0].conv1.weight is not network.layer2[0].conv1.weight


def test_files_without_batch_counts_or_classifier_are_whole(resnet18, tmp_path):
    state = {n: t for n, t in resnet18.state_dict().items() if "num_batches" not in n and not n.startswith("fc.")}
    config = save(state, tmp_path / "old.pth")
    assert torch.equal(build_backbone(config, read_pretrained(config)).layer2[0].bn1.weight, torch.ones(128))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state.pop("layer2.0.bn1.weight"), r"missing: layer2\.0\.bn1\.weight"),
        (lambda state: state.update({"head.weight": torch.ones(1)}), r"unexpected: head\.weight"),
        (lambda state: state.update({"conv1.weight": torch.ones(2, 3)}), r"conv1\.weight \(2, 3\) instead of \(64, 3,"),
    ],
)
def test_names_tensors_that_do_not_fit(resnet18, tmp_path, change, named):
    state = dict(resnet18.state_dict())
    change(state)
    config = save(state, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match=named):
        ReIDNetwork(config, CLASSES)


def test_another_networks_weights_name_a_few_tensors_only(resnet18, tmp_path):
    config = save(resnet18.state_dict(), tmp_path / "weights.pth").model_copy(update={"backbone": "resnet50"})
    with pytest.raises(CheckpointError, match=r"does not fit resnet50: missing: .* and \d+ more") as caught:
        ReIDNetwork(config, CLASSES)
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)


def test_refuses_a_path_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.pth"):
        read_pretrained(ModelConfig(weights=str(tmp_path / "nowhere.pth")))


@pytest.mark.parametrize("content", [b"", b"no weights"])
def test_refuses_a_file_that_is_no_state_dict(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read as a state dict"):
        read_pretrained(ModelConfig(weights=str(path)))


def test_refuses_a_whole_module(resnet18, tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read as a state dict"):
        read_pretrained(save(resnet18, tmp_path / "module.pth"))


def test_refuses_a_nested_checkpoint(resnet18, tmp_path):
    with pytest.raises(CheckpointError, match="that is no state dict"):
        read_pretrained(save({"model": resnet18.state_dict()}, tmp_path / "nested.pth"))


@pytest.mark.parametrize("weights", ["imagenet", "some.pth"])
def test_refuses_weights_for_narrow(weights):
    with pytest.raises(UsageError, match=r"model\.weights=random"):
        read_pretrained(ModelConfig(backbone="narrow", weights=weights))


def test_imagenet_is_taken_from_torchs_cache(resnet18, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(resnet18.state_dict(), tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth")
    state = read_pretrained(ModelConfig(backbone="resnet18", weights="imagenet"))
    assert torch.equal(state["conv1.weight"], resnet18.conv1.weight)


def test_imagenet_offline_says_which_file_goes_where(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        UsageError, match=r"resnet50-0676ba61\.pth cannot be downloaded .*checkpoints.*=random"
    ) as caught:
        read_pretrained(ModelConfig(backbone="resnet50", weights="imagenet"))
    assert "\n" not in str(caught.value)
