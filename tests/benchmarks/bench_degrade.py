"""Compare the degradations' two back ends with the usual one-image-at-a-time code: prints Markdown tables.

    python tests/benchmarks/bench_degrade.py [--batch 64] [--rounds 9] [--threads 1] [--json FILE]

The usual code is that of the libraries that the paper's code degrades with: PIL, OpenCV, torchvision. The contestants
of a row take turns, so that a busy machine slows all of them; the table gives the median CPU time of the first and the
medians of the per-round ratios of its time to the others'. Only the ratios carry over to other machines. Where there
is a CUDA device, a second table gives its images per second, and how much faster that is than the usual code on one
CPU core of the same machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from rlq_ray.augment import Augmenter, draw_pairs, recolour
from rlq_ray.augment import draw as draw_augmentation
from rlq_ray.config.schema import AugmentConfig, DegradeConfig
from rlq_ray.degrade import DegradeDraw, Degrader, batched, defocus, draw, looped, motion_blur, pixelate
from rlq_ray.degrade.kernels import gaussian_taps, motion_kernel

SIZES = ((128, 64), (384, 192))
USUAL = "per image"
Contestants = dict[str, Callable[[], object]]


def pixelate_by_pil(image_BCHW: Tensor, size_B2: Tensor) -> list[np.ndarray]:
    """Pixelate as the published code does: PIL, bicubic down, bilinear up."""
    out = []
    for image, (height, width) in zip(image_BCHW.permute(0, 2, 3, 1).numpy(), size_B2.tolist(), strict=True):
        small = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
        out.append(np.array(small.resize(image.shape[1::-1], Image.Resampling.BILINEAR)))
    return out


def defocus_by_torchvision(image_BCHW: Tensor, drawn: DegradeDraw) -> list[Tensor]:
    """Blur as the published code does: torchvision."""
    settings = zip(image_BCHW, drawn.kernel_px_B.tolist(), drawn.sigma_B.tolist(), strict=True)
    return [gaussian_blur(image, kernel_size, sigma) for image, kernel_size, sigma in settings]


def defocus_by_opencv(image_BCHW: Tensor, drawn: DegradeDraw) -> list[np.ndarray]:
    """Blur with the fastest Gaussian that a library offers, in fixed-point numbers."""
    images = image_BCHW.permute(0, 2, 3, 1).numpy()
    settings = zip(images, drawn.kernel_px_B.tolist(), drawn.sigma_B.tolist(), strict=True)
    return [
        cv2.GaussianBlur(image, (size, size), sigma, borderType=cv2.BORDER_REFLECT_101)
        for image, size, sigma in settings
    ]


def motion_by_opencv(image_BCHW: Tensor, drawn: DegradeDraw) -> list[np.ndarray]:
    """Blur along a line as the published code does: OpenCV."""
    out = []
    images = image_BCHW.permute(0, 2, 3, 1).numpy()
    for image, length, angle in zip(images, drawn.length_B.tolist(), drawn.angle_B.tolist(), strict=True):
        kernel = np.zeros((length, length), np.float32)
        kernel[(length - 1) // 2] = 1
        turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), angle, 1.0)
        kernel = cv2.warpAffine(kernel, turn, (length, length))
        out.append(cv2.filter2D(image, -1, kernel / kernel.sum()))
    return out


def make_batch(height: int, width: int, batch: int) -> tuple[Tensor, DegradeDraw]:
    """Draw images of noise, and what is to happen to them."""
    generator = torch.Generator().manual_seed(0)
    image_BCHW = torch.randint(0, 256, (batch, 3, height, width), generator=generator, dtype=torch.uint8)
    return image_BCHW.contiguous(memory_format=torch.channels_last), draw(batch, DegradeConfig(), generator)


def operators(height: int, width: int, batch: int) -> dict[str, Contestants]:
    """Set up every row of the first table for one canvas; all make their kernels from what was drawn."""
    image, drawn = make_batch(height, width, batch)
    scale = torch.ones(batch, 2)
    size = drawn.short_side_B[:, None] * torch.tensor([height, width]) // min(height, width)

    def taps() -> tuple[Tensor, Tensor]:
        taps_BK = gaussian_taps(drawn.kernel_px_B, drawn.sigma_B, scale[:, 0], 21, 10)
        return taps_BK, taps_BK

    def kernel() -> Tensor:
        return motion_kernel(drawn.length_B, drawn.angle_B, scale, 19, (9, 9))

    return {
        "pixelation": {
            USUAL: lambda: pixelate_by_pil(image, size),
            "looped": lambda: looped.shrink_and_enlarge(image, size),
            "batched": lambda: batched.shrink_and_enlarge(image, size),
        },
        "out of focus": {
            USUAL: lambda: defocus_by_torchvision(image, drawn),
            "looped": lambda: looped.filter_separable(image, *taps()),
            "batched": lambda: batched.filter_separable(image, *taps()),
            "OpenCV": lambda: defocus_by_opencv(image, drawn),
        },
        "motion": {
            USUAL: lambda: motion_by_opencv(image, drawn),
            "looped": lambda: looped.filter_dense(image, kernel()),
            "batched": lambda: batched.filter_dense(image, kernel()),
        },
    }


def whole_parts(height: int, width: int, batch: int) -> Contestants:
    """Set up what a training step does with a batch, input ¾ of the canvas."""
    image, drawn = make_batch(height, width, batch)
    generator = torch.Generator().manual_seed(1)
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


def milliseconds_on_cuda(run: Callable[[], object], rounds: int) -> list[float]:
    """Measure the device's time of some calls by events, after two calls to warm up."""
    times_ms = []
    for i in range(rounds + 2):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        if i >= 2:
            times_ms.append(start.elapsed_time(end))
    return times_ms


def on_cuda(height: int, width: int, batch: int) -> Contestants:
    """Set up the second table for one canvas; "×2" is for an image that was enlarged so much, whose kernels grow."""
    image, drawn = make_batch(height, width, batch)
    image, drawn = image.cuda().contiguous(memory_format=torch.channels_last), drawn.to(torch.device("cuda"))
    degrader, stored = Degrader(DegradeConfig()), torch.tensor([[height, width]], device="cuda").expand(batch, 2)
    parts: Contestants = {
        "pixelation": lambda: pixelate(image, drawn.short_side_B),
        "out of focus": lambda: defocus(image, drawn.kernel_px_B, drawn.sigma_B),
        "motion": lambda: motion_blur(image, drawn.length_B, drawn.angle_B),
    }
    for largest in (2.0, 3.0):
        parts[f"out of focus, × {largest:.0f}"] = lambda largest=largest: defocus(
            image, drawn.kernel_px_B, drawn.sigma_B, stored, largest_enlargement=largest
        )
        parts[f"motion, × {largest:.0f}"] = lambda largest=largest: motion_blur(
            image, drawn.length_B, drawn.angle_B, stored, largest_enlargement=largest
        )
    parts["all, each image its own"] = lambda: degrader(image, drawn, stored)
    return parts


def compare_on_cpu(sizes: tuple[tuple[int, int], ...], batch: int, rounds: int) -> list[dict[str, object]]:
    """Print the first table; return every round."""
    results: list[dict[str, object]] = []
    print(f"| operator | canvas | {USUAL}, CPU ms | looped faster by | batched faster by | OpenCV faster by |")
    print("|---|---|---|---|---|---|")
    for height, width in sizes:
        for operator, contestants in operators(height, width, batch).items():
            times_ms = take_turns(contestants, rounds)
            cells = [
                f"{statistics.median(a / b for a, b in zip(times_ms[USUAL], times_ms[name], strict=True)):.2f} ×"
                if name in times_ms
                else "–"
                for name in ("looped", "batched", "OpenCV")
            ]
            usual_ms = statistics.median(times_ms[USUAL])
            print(f"| {operator} | {height}×{width} | {usual_ms:.1f} | {' | '.join(cells)} |", flush=True)
            results.append({"operator": operator, "canvas": [height, width], "cpu_ms": times_ms})
    return results


def time_whole_parts(sizes: tuple[tuple[int, int], ...], batch: int, rounds: int) -> list[dict[str, object]]:
    """Print what a training step's work on images costs; return every round."""
    results: list[dict[str, object]] = []
    print("\n| whole part | canvas | median CPU ms | least |\n|---|---|---|---|")
    for height, width in sizes:
        for part, times_ms in take_turns(whole_parts(height, width, batch), rounds).items():
            print(
                f"| {part} | {height}×{width} | {statistics.median(times_ms):.1f} | {min(times_ms):.1f} |", flush=True
            )
            results.append({"part": part, "canvas": [height, width], "cpu_ms": times_ms})
    return results


def compare_on_cuda(
    usual: list[dict[str, object]], sizes: tuple[tuple[int, int], ...], batch: int, rounds: int
) -> list[dict[str, object]]:
    """Print the table of the CUDA device beside `usual`, what `compare_on_cpu` returned; return every round."""
    results: list[dict[str, object]] = []
    print(
        f"\n| {torch.cuda.get_device_name()} | canvas | ms | images/s | faster than {USUAL} by |\n|---|---|---|---|---|"
    )
    usual_ms = {(row["operator"], *row["canvas"]): statistics.median(row["cpu_ms"][USUAL]) for row in usual}
    for height, width in sizes:
        for name, run in on_cuda(height, width, batch).items():
            times_ms = milliseconds_on_cuda(run, rounds)
            ms = statistics.median(times_ms)
            beside = usual_ms.get((name.partition(",")[0], height, width))
            faster = f"{beside / ms:.0f} ×" if beside else "–"
            print(f"| {name} | {height}×{width} | {ms:.2f} | {batch / ms * 1e3:,.0f} | {faster} |", flush=True)
            results.append({"operator": name, "canvas": [height, width], "cuda_ms": times_ms})
    return results


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64, help="images")
    parser.add_argument("--rounds", type=int, default=9, help="measurements of each")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch and OpenCV")
    parser.add_argument("--json", type=Path, help="file for all rounds")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    arguments = (SIZES, options.batch, options.rounds)
    report: dict[str, object] = {"batch": options.batch, "threads": options.threads, "torch": torch.__version__}
    report["operators"] = usual = compare_on_cpu(*arguments)
    report["whole_parts"] = time_whole_parts(*arguments)
    if torch.cuda.is_available():
        report |= {"cuda": compare_on_cuda(usual, *arguments), "device": torch.cuda.get_device_name()}
    if options.json:
        options.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
