import io

import pytest
import safetensors.torch
import timm
import torch
from torch.nn import functional as F

from rlq_ray.config.schema import ModelConfig
from rlq_ray.errors import CheckpointError, UsageError
from rlq_ray.models import ReIDNetwork, load_network
from rlq_ray.models.backbones import build_backbone, read_pretrained
from rlq_ray.models.vision_transformer import ARCHITECTURES
from rlq_ray.train.export import InferenceModel
from rlq_ray.types import ClassSpace

CLASSES = ClassSpace(("a", "b", "c"), ("a1", "a2", "b1", "c1"), (0, 0, 1, 2), pose_clusters=5)
HEIGHT, WIDTH = 56, 28  # 4 × 2 patches


def configure(weights="random", **settings):
    return ModelConfig(backbone="eva02_tiny", weights=str(weights), input_height=HEIGHT, input_width=WIDTH, **settings)


def build(seed=0, **settings):
    torch.manual_seed(seed)
    return ReIDNetwork(configure(**settings), CLASSES)


def images(num=3):
    return torch.randn(num, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(7))


def make_timm(size=224, **settings):
    torch.manual_seed(1)
    return timm.create_model(ARCHITECTURES["eva02_tiny"], img_size=size, **settings).eval()


@pytest.fixture(scope="module")
def published():
    """A state dict of the size and kind that timm publishes: square, features averaged, with a classifier."""
    return make_timm(num_classes=10).state_dict()


def save(state, path):
    torch.save(state, path)
    return configure(path)


def test_runs_forward_and_back_in_bf16():
    network = build()
    network.compute_dtype = torch.bfloat16
    out = network(images(), with_pose=True)
    assert {tensor.dtype for tensor in out} == {torch.float32}
    sum(
        logits.square().sum() for logits in (out.identity_clothes_BP, out.identity_BP, out.pose_BK, out.gender_B2)
    ).backward()
    assert all(p.dtype == torch.float32 and torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "input_height", "input_width", "words"),
    [
        ("eva02_large", 384, 196, r"model\.input_height is 384, which eva02_large .* 14 pixels: .* such as 392"),
        ("eva02_base", 384, 196, r"model\.input_width is 196, which eva02_base .* 16 pixels: .* such as 208"),
    ],
)
def test_refuses_a_size_that_is_no_multiple_of_a_patch(name, input_height, input_width, words):
    with pytest.raises(ValueError, match=words):
        ModelConfig(backbone=name, weights="random", input_height=input_height, input_width=input_width)


def test_refuses_to_download_and_a_path_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"model\.weights is 'imagenet', but eva02_tiny is never downloaded: give"):
        configure("imagenet")
    with pytest.raises(UsageError, match=r"nowhere\.pth.*the path of a timm state dict"):
        read_pretrained(configure(tmp_path / "nowhere.pth"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state.pop("blocks.3.norm1.bias"), r"missing: blocks\.3\.norm1\.bias"),
        (lambda state: state.pop("fc_norm.bias"), r"missing: norm\.bias"),
        (lambda state: state.update({"mask_token": torch.ones(1)}), r"unexpected: mask_token"),
        (lambda state: state.update({"norm.weight": torch.ones(192)}), r"unexpected: fc_norm\.weight"),
        (lambda state: state.update({"pos_embed": torch.ones(1, 8, 192)}), r"pos_embed \(1, 8, 192\) instead of"),
    ],
)
def test_names_tensors_that_do_not_fit(published, tmp_path, change, named):
    state = dict(published)
    change(state)
    with pytest.raises(CheckpointError, match=rf"does not fit eva02_tiny: .*{named}") as caught:
        ReIDNetwork(save(state, tmp_path / "weights.pth"), CLASSES)
    assert "give the state dict of timm's eva02_tiny_patch14_224" in str(caught.value)


def test_refuses_a_damaged_safetensors_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="cannot be read as a state dict"):
        read_pretrained(configure(path))


def test_shapes():
    network = build()
    out = network(images(), with_pose=True)
    assert (network.feature_size, network.embedding_size) == (384, 768)
    assert {name: tuple(tensor.shape) for name, tensor in out._asdict().items()} == {
        "clothes_BD": (3, 384),
        "identity_BD": (3, 384),
        "identity_clothes_BP": (3, 3),
        "identity_BP": (3, 3),
        "pose_BD": (3, 384),
        "pose_BK": (3, 6),
        "gender_B2": (3, 2),
    }
    shared = network.layer2(network.stem_to_layer1(images()))
    assert shared.shape == (3, 9, 192)
    assert network.identity_branch[:2](shared).shape == (3, 192, 4, 2)


@pytest.mark.parametrize(
    ("name", "size", "places", "blocks", "channels"),
    [
        ("eva02_tiny", (56, 28), (4, 2), 3, 192),
        ("eva02_base", (384, 192), (24, 12), 3, 768),
        ("eva02_large", (392, 196), (28, 14), 6, 1024),
    ],
)
def test_every_size_forks_after_a_quarter_and_after_half(name, size, places, blocks, channels):
    with torch.device("meta"):
        config = ModelConfig(backbone=name, weights="random", input_height=size[0], input_width=size[1])
        *parts, last_channels = build_backbone(config, None)
        map_BCHW = torch.nn.Sequential(*parts)(torch.empty(2, 3, *size))
    assert map_BCHW.shape == (2, channels, *places)
    assert last_channels == channels
    assert [len(part.blocks) for part in (parts[0][1], parts[1], parts[2], parts[3][0])] == [blocks] * 4


@pytest.mark.parametrize(("height", "width"), [(56, 28), (28, 70)])
def test_the_parts_in_turn_are_timms_network(tmp_path, height, width):
    whole = make_timm((height, width), num_classes=0, global_pool="token")
    config = save(whole.state_dict(), tmp_path / "weights.pth").model_copy(
        update={"input_height": height, "input_width": width}
    )
    parts = torch.nn.Sequential(*build_backbone(config, read_pretrained(config))[:4]).eval()
    image = torch.randn(2, 3, height, width)
    expected = whole.forward_features(image)[:, 1:]
    map_BCHW = parts(image)
    for row in range(height // 14):
        for column in range(width // 14):
            place = expected[:, row * (width // 14) + column]
            torch.testing.assert_close(map_BCHW[:, :, row, column], place, rtol=0, atol=1e-5)


def test_the_rotation_alone_tells_where_a_patch_lies_when_positions_are_taken_away():
    network = build().eval()
    with torch.no_grad():
        network.stem_to_layer1[0].position.zero_()
    first = network.layer2(network.stem_to_layer1(images()))
    swapped = images().unflatten(2, (4, 14)).unflatten(4, (2, 14))[:, :, [1, 0, 2, 3]].flatten(4, 5).flatten(2, 3)
    second = network.layer2(network.stem_to_layer1(swapped))
    moved = torch.tensor([0, 3, 4, 1, 2, 5, 6, 7, 8])
    assert not torch.allclose(first[:, moved], second, atol=1e-3), "rows that change places are seen"
    for part in (network.stem_to_layer1[1], network.layer2):
        part.rotation_NC.copy_(part.rotation_NC[:1].expand_as(part.rotation_NC))
    first = network.layer2(network.stem_to_layer1(images()))
    second = network.layer2(network.stem_to_layer1(swapped))
    torch.testing.assert_close(first[:, moved], second, rtol=1e-4, atol=1e-4)


def test_published_positions_are_resampled_and_all_else_is_taken_as_it_is(published, tmp_path):
    config = save(published, tmp_path / "weights.pth")
    stem, layer2, _, layer4, _ = build_backbone(config, read_pretrained(config))
    assert torch.equal(stem[0].position[:, 0], published["pos_embed"][:, 0]), "the class token's place"
    grid = published["pos_embed"][:, 1:].unflatten(1, (16, 16)).permute(0, 3, 1, 2)
    smaller = F.interpolate(grid, (4, 2), mode="bicubic", antialias=True).permute(0, 2, 3, 1).flatten(1, 2)
    torch.testing.assert_close(stem[0].position[:, 1:], smaller)
    assert torch.equal(layer2.blocks[0].attn.qkv.weight, published["blocks.3.attn.qkv.weight"])
    assert torch.equal(layer4[1].norm.weight, published["fc_norm.weight"])


def test_safetensors_and_pickles_hold_the_same(published, tmp_path):
    safetensors.torch.save_file(published, tmp_path / "weights.safetensors")
    given = read_pretrained(configure(tmp_path / "weights.safetensors"))
    expected = read_pretrained(save(published, tmp_path / "weights.pth"))
    assert not [name for name in expected if name.startswith("head.")]
    assert given.keys() == expected.keys()
    assert all(torch.equal(given[name], expected[name]) for name in expected)


def test_branches_start_as_copies_and_share_nothing(published, tmp_path):
    network = ReIDNetwork(save(published, tmp_path / "weights.pth"), CLASSES)
    thirds = [network.clothes_branch[0], network.identity_branch[0], network.pose_branch[1]]
    for part in thirds:
        assert torch.equal(part.blocks[0].attn.qkv.weight, published["blocks.6.attn.qkv.weight"])
    assert torch.equal(network.pose_branch[0].blocks[2].mlp.fc1.weight, network.layer2.blocks[2].mlp.fc1.weight)
    owners = [network.stem_to_layer1, network.layer2, network.clothes_branch, network.identity_branch]
    owners.append(network.pose_branch)
    places = [tensor.data_ptr() for owner in owners for tensor in (*owner.parameters(), *owner.buffers())]
    assert len(places) == len(set(places))


def test_a_state_makes_the_same_network_again_and_holds_no_rotation():
    network = build()
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    assert not [name for name in network.state_dict() if "rotation" in name]
    buffer.seek(0)
    again = load_network(configure(), CLASSES, torch.load(buffer, weights_only=True)).eval()
    assert torch.equal(again.embed(images()), network.eval().embed(images()))


def test_bf16_changes_little():
    network = build().eval()
    exact = network(images(), with_pose=True)
    network.compute_dtype = torch.bfloat16
    for near, expected in zip(network(images(), with_pose=True), exact, strict=True):
        assert not torch.equal(near, expected)
        assert (near - expected).norm() < 0.05 * expected.norm()


def test_exported_it_computes_the_same_for_any_number_of_images():
    model = InferenceModel(build(single_branch=True, pose_branch=False, gender_head=False)).eval()
    pair = torch.rand(2, 3, HEIGHT, WIDTH)
    program = torch.export.export(model, (pair,), dynamic_shapes=[{0: torch.export.Dim.AUTO}])
    many = torch.rand(5, 3, HEIGHT, WIDTH)
    torch.testing.assert_close(program.module()(many), model(many))


def test_every_parameter_gets_a_gradient():
    network = build()
    out = network(images(), with_pose=True)
    sum(
        logits.square().sum() for logits in (out.identity_clothes_BP, out.identity_BP, out.pose_BK, out.gender_B2)
    ).backward()
    assert not [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.any() or not torch.isfinite(parameter.grad).all()
    ]
