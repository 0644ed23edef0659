"""Compare the degradations' two back ends with the usual one-image-at-a-time code: prints a Markdown table.

    python tests/benchmarks/bench_degrade.py [--batch 64] [--rounds 9] [--threads 1]

The contestants of a row take turns, so that a busy machine slows all of them; the table gives the median CPU time of
the first and the medians of the others' per-round ratios to it. Only the ratios carry over to other machines.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from kornia.filters import filter2d
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from rlq_ray.augment import Augmenter, draw_pairs, recolour
from rlq_ray.augment import draw as draw_augmentation
from rlq_ray.config.schema import AugmentConfig, DegradeConfig
from rlq_ray.degrade import DegradeDraw, Degrader, batched, draw, looped
from rlq_ray.degrade.kernels import gaussian_taps, motion_kernel

SIZES = ((128, 64), (384, 192))
Contestants = dict[str, Callable[[], object]]


def pil_one_by_one(image_BCHW: Tensor, size_B2: Tensor) -> list[np.ndarray]:
    """Pixelate as the published code does: PIL, bicubic down, bilinear up."""
    out = []
    for image, (height, width) in zip(image_BCHW.permute(0, 2, 3, 1).numpy(), size_B2.tolist(), strict=True):
        small = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
        out.append(np.array(small.resize(image.shape[1::-1], Image.Resampling.BILINEAR)))
    return out


def torchvision_one_by_one(image_BCHW: Tensor, drawn: DegradeDraw) -> list[Tensor]:
    """Blur as the published code does: torchvision."""
    return [
        gaussian_blur(image, kernel_size, sigma)
        for image, kernel_size, sigma in zip(
            image_BCHW, drawn.kernel_px_B.tolist(), drawn.sigma_B.tolist(), strict=True
        )
    ]


def kornia_one_by_one(image_BCHW: Tensor, kernel_BKK: Tensor) -> list[Tensor]:
    """Blur with a dense filter, one image at a time."""
    return [
        filter2d(image_BCHW[i : i + 1].float(), kernel_BKK[i : i + 1]).round().to(torch.uint8)
        for i in range(len(image_BCHW))
    ]


def operators(height: int, width: int, batch: int) -> dict[str, Contestants]:
    """Set up every row of the table for one canvas."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (batch, 3, height, width), generator=generator, dtype=torch.uint8)
    image = image.contiguous(memory_format=torch.channels_last)
    drawn = draw(batch, DegradeConfig(), generator)
    scale = torch.ones(batch, 2)
    size = torch.stack([drawn.short_side_B * 2, drawn.short_side_B], dim=1)
    taps = gaussian_taps(drawn.kernel_px_B, drawn.sigma_B, scale[:, 0], 21, 10)
    kernel = motion_kernel(drawn.length_B, drawn.angle_B, scale, 19, (9, 9))
    return {
        "pixelation": {
            "per image": lambda: pil_one_by_one(image, size),
            "looped": lambda: looped.shrink_and_enlarge(image, size),
            "batched": lambda: batched.shrink_and_enlarge(image, size),
        },
        "out of focus": {
            "per image": lambda: torchvision_one_by_one(image, drawn),
            "looped": lambda: looped.filter_separable(image, taps, taps),
            "batched": lambda: batched.filter_separable(image, taps, taps),
        },
        "motion": {
            "per image": lambda: kornia_one_by_one(image, kernel),
            "looped": lambda: looped.filter_dense(image, kernel),
            "batched": lambda: batched.filter_dense(image, kernel),
        },
    }


def whole_parts(height: int, width: int, batch: int) -> Contestants:
    """Set up what a training step does with a batch, input ¾ of the canvas."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (batch, 3, height, width), generator=generator, dtype=torch.uint8)
    image = image.contiguous(memory_format=torch.channels_last)
    drawn = draw(batch, DegradeConfig(), generator)
    changes = draw_augmentation(batch, AugmentConfig(), generator)
    degrader, augmenter = Degrader(DegradeConfig()), Augmenter(AugmentConfig(), height * 3 // 4, width * 3 // 4)
    stored = torch.tensor([[height * 3 // 2, width * 5 // 4]]).expand(batch, 2)
    mask = torch.zeros(batch, 1, height, width, dtype=torch.bool)
    mask[:, :, height // 4 : height // 2, width // 4 : width * 3 // 4] = True
    faulty, pair = torch.zeros(batch, dtype=torch.bool), draw_pairs(batch, generator)
    return {
        "degrade": lambda: degrader(image, drawn, stored),
        "augment": lambda: augmenter.train(image, changes),
        "recolour": lambda: recolour(image, mask, mask.roll(height // 4, 2), faulty, pair, 0.7),
    }


def take_turns(contestants: Contestants, rounds: int) -> dict[str, list[float]]:
    """Measure CPU milliseconds of everyone once per round, after one round to warm up."""
    times_ms: dict[str, list[float]] = {name: [] for name in contestants}
    for i in range(rounds + 1):
        for name, run in contestants.items():
            start = time.process_time()
            run()
            if i:
                times_ms[name].append((time.process_time() - start) * 1e3)
    return times_ms


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64, help="images")
    parser.add_argument("--rounds", type=int, default=9, help="measurements of each")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| operator | canvas | per image, CPU ms | looped | batched |\n|---|---|---|---|---|")
    for height, width in SIZES:
        for operator, contestants in operators(height, width, arguments.batch).items():
            times = take_turns(contestants, arguments.rounds)
            ratios = [
                statistics.median(b / a for a, b in zip(times["per image"], times[name], strict=True))
                for name in ("looped", "batched")
            ]
            per_image_ms = statistics.median(times["per image"])
            print(f"| {operator} | {height}×{width} | {per_image_ms:.1f} | {ratios[0]:.2f} × | {ratios[1]:.2f} × |")
    print("\n| whole part | canvas | median CPU ms | least |\n|---|---|---|---|")
    for height, width in SIZES:
        for part, times_ms in take_turns(whole_parts(height, width, arguments.batch), arguments.rounds).items():
            print(f"| {part} | {height}×{width} | {statistics.median(times_ms):.1f} | {min(times_ms):.1f} |")


if __name__ == "__main__":
    main()
