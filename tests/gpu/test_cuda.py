"""The same parts on a CUDA device: close to the CPU, and without waiting for the device."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from rlq_ray.augment import Augmenter
from rlq_ray.augment import draw as draw_augmentation
from rlq_ray.config.schema import AugmentConfig, DegradeConfig, ModelConfig
from rlq_ray.data.decode import decode_batch
from rlq_ray.degrade import Degrader, draw, pixelate
from rlq_ray.losses import batch_hard_triplet
from rlq_ray.models import ReIDNetwork
from rlq_ray.train.gradients import GradientComparison
from rlq_ray.train.schedule import Timeline
from rlq_ray.types import ClassSpace

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
CLASSES = ClassSpace(("0", "1"), ("0_1", "1_1"), (0, 1), pose_clusters=5)


@pytest.fixture
def image_BCHW() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (24, 3, 128, 64), dtype=torch.uint8, generator=generator)
    return image.contiguous(memory_format=torch.channels_last)


@pytest.fixture
def size_B2() -> torch.Tensor:
    return torch.tensor([[128, 64]]).repeat(24, 1)


@pytest.mark.parametrize("pixels", ["original", "canvas"])
@pytest.mark.parametrize("canvas", [(128, 64), (256, 128), (384, 192)])
def test_degradations_agree_with_the_cpu(canvas: tuple[int, int], pixels: str) -> None:
    config, (height, width) = DegradeConfig(pixels=pixels), canvas
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (30, 3, height, width), dtype=torch.uint8, generator=generator)
    ramp = (torch.arange(height)[:, None] + torch.arange(width)).to(torch.uint8).expand(30, 3, height, width)
    image_BCHW = torch.cat([noise, ramp]).contiguous(memory_format=torch.channels_last)
    stored = [canvas, (128, 64), (350, 130), (100, 60), (800, 400)]
    size_B2 = torch.tensor(stored).repeat(12, 1)
    drawn = replace(draw(60, config, generator), kind_B=torch.arange(60, dtype=torch.int8) % 3)
    here = Degrader(config)(image_BCHW, drawn, size_B2)
    there = Degrader(config)(image_BCHW.cuda(), drawn, size_B2.cuda())
    assert there.is_contiguous(memory_format=torch.channels_last)
    difference_B = (here.int() - there.cpu().int()).abs().flatten(1)
    assert difference_B.max() <= 2, drawn.kind_B[difference_B.amax(dim=1).argmax()]
    assert difference_B[:30].float().mean() < 0.05  # a ramp is full of halves, which may go either way


@pytest.mark.parametrize("short_side", [16, 24, 32, 47, 63])
def test_pixelation_is_that_of_pil(short_side: int) -> None:
    ramp = (torch.arange(384)[:, None] + torch.arange(192)).to(torch.uint8)
    image_CHW = torch.stack([ramp, ramp.flip(0), ramp.flip(1)])
    pil = Image.fromarray(image_CHW.permute(1, 2, 0).numpy())
    pil = pil.resize((short_side, 2 * short_side), Image.Resampling.BICUBIC).resize(
        (192, 384), Image.Resampling.BILINEAR
    )
    out = pixelate(image_CHW[None].cuda(), torch.tensor([short_side], device="cuda"))[0].cpu().permute(1, 2, 0)
    assert (out.int() - torch.from_numpy(np.array(pil)).int()).abs().max() <= 2


def test_drawing_and_applying_never_wait_for_the_device(image_BCHW: torch.Tensor, size_B2: torch.Tensor) -> None:
    config, augment = DegradeConfig(), AugmentConfig()
    image_BCHW, size_B2 = image_BCHW.cuda(), size_B2.cuda()
    generator = torch.Generator("cuda").manual_seed(1)
    degrader, augmenter = Degrader(config), Augmenter(augment, 96, 48)
    augmenter.train(image_BCHW, draw_augmentation(24, augment, generator))  # constants are made on first use
    torch.cuda.set_sync_debug_mode("error")
    try:
        degraded = degrader(image_BCHW, draw(24, config, generator), size_B2)
        augmenter.train(degraded, draw_augmentation(24, augment, generator))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_comparing_gradients_never_waits_for_the_device() -> None:
    network = torch.nn.Linear(4, 2).cuda()
    comparison = GradientComparison(Timeline(1, 1, 1, 1), 1)
    images = [torch.randn(3, 4, device="cuda") for _ in range(2)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step, (phase, image) in enumerate(zip(("tad", "cap"), images, strict=True)):
            network.zero_grad(set_to_none=True)
            network(image).square().sum().backward()
            comparison.after_step(step, phase, network)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert -1 <= comparison.take()["diagnostics/gradient_cosine"] <= 1


@pytest.mark.parametrize("backbone", ["narrow", "resnet18"])
def test_features_and_gradients_agree_with_the_cpu(backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # its 10 bits of mantissa show in the features
    config = ModelConfig(backbone=backbone, weights="random", input_height=96, input_width=48)
    torch.manual_seed(0)
    network = ReIDNetwork(config, CLASSES).eval()
    image, pid = torch.randn(8, 3, 96, 48), torch.tensor([0, 0, 1, 1] * 2)
    results = []
    for device in ("cpu", "cuda"):
        network = network.to(device)
        network.zero_grad()
        feat = network(image.to(device), with_pose=True).identity_BD
        batch_hard_triplet(feat, pid.to(device)).backward()
        # A copy, since moving the network moves its gradients.
        results.append((feat.detach().cpu(), next(network.layer2.parameters()).grad.cpu().clone()))
    for here, there in zip(*results, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-2, atol=1e-3)


@pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities of TorchVision")
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_nvjpeg_is_close_to_the_cpu(subsampling: str) -> None:
    generator = np.random.default_rng(0)
    small = [Image.fromarray(generator.integers(0, 256, (12, 6, 3), dtype=np.uint8)) for _ in range(8)]
    files = []
    for number, image in enumerate(small):
        stream = io.BytesIO()
        image.resize((64, 128), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90, subsampling=subsampling)
        files.append((stream.getvalue(), str(number)))
    here = decode_batch(files, 128, 64, torch.device("cpu")).float()
    there = decode_batch(files, 128, 64, torch.device("cuda")).cpu().float()
    if subsampling == "4:4:4":
        assert (here - there).abs().mean() < 1  # other rounding
    # The two enlarge halved chroma otherwise: colours of such noise differ by 4 on average, its luma hardly.
    weights_C11 = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    assert ((here - there) * weights_C11).sum(dim=1).abs().mean() < 1.5
