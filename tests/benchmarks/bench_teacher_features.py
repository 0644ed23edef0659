"""Measure what a TAD step saves that looks the teacher's features up: prints a Markdown table.

    python tests/benchmarks/bench_teacher_features.py [--rounds 9] [--threads 1] [--json FILE]

Steps with the teacher and steps with its features from a store take turns, so that a busy machine slows both; the table
gives the median CPU time of the first and the median of the per-round ratios of its time to the other's, decoding and
update included. Beside that, what a draw of an image costs once, in time and on the disk. The people are rendered, and
decoded to the canvas of each size.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pipelines.recipe import RECIPES
from rlq_ray.collectives import World
from rlq_ray.config.load import load_recipe
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.data import SideFiles, ingest
from rlq_ray.people import PRESETS
from rlq_ray.people.dataset import finish, write_part
from rlq_ray.storage import locate
from rlq_ray.train.build import Parts, build, open_data
from rlq_ray.train.checkpoint import CheckpointCard, write_checkpoint
from rlq_ray.train.loop import Plan, train_step
from rlq_ray.train.networks import read_teacher
from rlq_ray.train.teaching import TaughtSet, teach_rows

SIZES = {
    "narrow, 96×48, bf16": ("narrow", 96, 48, "bf16"),
    "ResNet-18, 192×96": ("resnet18", 192, 96, "fp32"),
    "ResNet-50, 192×96": ("resnet50", 192, 96, "fp32"),
}
IMAGES = 32
CPU = torch.device("cpu")


def make_people(folder: Path) -> dict[str, str]:
    """Render and ingest the fewest people; return the shards by role."""
    shards = {}
    for role in ("target", "external"):
        images, preset = folder / role, PRESETS["tiny"]
        part = write_part(str(images), preset, population=role, seed=0, part=0, num_parts=1)
        finish(str(images), preset, [part])
        files = SideFiles(
            gender=images / "gender.csv", keypoints=images / "keypoints.json", masks=images / "masks", pose_k=5
        )
        ingest(images, "ltcc", folder / "shards" / role, name=role, side_files=files)
        shards[role] = str(folder / "shards" / role)
    return shards


def configure(shards: dict[str, str], size: str, *more: str, recipe: str = "tiny_rlq") -> ExperimentConfig:
    """Make a configuration of a size."""
    backbone, height, width, precision = SIZES[size]
    return load_recipe(
        RECIPES / f"{recipe}.toml",
        [
            *(f"data.target={shards['target']}", f"data.external={shards['external']}", "model.narrow_width=20"),
            *(f"model.backbone={backbone}", "model.weights=random", f"train.precision={precision}"),
            *(f"model.input_height={height}", f"model.input_width={width}", "workers.count=1"),
            *(f"data.canvas_height={height * 4 // 3}", f"data.canvas_width={width * 4 // 3}"),
            *(f"batch.external_images={IMAGES}", *more),
        ],
    )


def keep_teacher(config: ExperimentConfig, folder: Path) -> None:
    """Write a teacher that knows nothing."""
    folder.mkdir()
    parts = build(config, world=World(), device=CPU)
    write_checkpoint(folder, CheckpointCard(config, parts.split.classes, "", 0, 0), parts.state.state_dict())
    parts.close()


def teach(config: ExperimentConfig, store: Path) -> tuple[float, float]:
    """Keep a draw of the teacher's features; return CPU milliseconds and bytes an image."""
    assert config.data.external is not None
    external = open_data(config.data.external, config.data)
    row_N, teacher = external.index.rows_of_split("train"), read_teacher(config, CPU)
    start = time.process_time()
    feat_2ND = teach_rows(teacher, external, row_N, 0, config, CPU)
    cpu_ms = (time.process_time() - start) * 1e3
    TaughtSet(config, external.manifest.content_hash, locate(store)).write(0, row_N, feat_2ND)
    return cpu_ms / len(row_N), feat_2ND.nbytes / len(row_N)


def step_of(config: ExperimentConfig, parts: Parts) -> Callable[[], object]:
    """Set up a TAD step."""
    plan = Plan(parts.timeline, config.staged_optimizer, config.train, "none", CPU)
    parts.state.network.train()
    return lambda: train_step(parts.state, plan, parts.state.phases["tad"], 1e-3)


def take_turns(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Measure CPU milliseconds of everyone once per round, after two rounds to warm up."""
    times_ms: dict[str, list[float]] = {name: [] for name in contestants}
    for i in range(rounds + 2):
        for name, run in contestants.items():
            start = time.process_time()
            run()
            if i > 1:
                times_ms[name].append((time.process_time() - start) * 1e3)
    return times_ms


def measure(shards: dict[str, str], size: str, rounds: int, folder: Path) -> dict[str, object]:
    """Measure one size, and print its row."""
    keep_teacher(configure(shards, size, recipe="tiny_base"), folder / "teacher")
    configs = {
        name: configure(shards, size, f"teacher={folder / 'teacher'}", f"teacher_draws={draws}")
        for name, draws in (("computed", 0), ("looked up", 1))
    }
    once_ms, once_bytes = teach(configs["looked up"], folder)
    parts = {name: build(config, world=World(), device=CPU, store=locate(folder)) for name, config in configs.items()}
    times_ms = take_turns({name: step_of(config, parts[name]) for name, config in configs.items()}, rounds)
    for own in parts.values():
        own.close()
    ratios = [a / b for a, b in zip(times_ms["computed"], times_ms["looked up"], strict=True)]
    print(
        f"| {size} | {statistics.median(times_ms['computed']):.0f} | {statistics.median(ratios):.2f} × "
        f"({min(ratios):.2f}–{max(ratios):.2f}) | {once_ms:.1f} | {once_bytes / 1e3:.1f} |",
        flush=True,
    )
    return {"size": size, "cpu_ms": times_ms, "once_ms_an_image": once_ms, "bytes_an_image": once_bytes}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="measurements of each")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--json", type=Path, help="file for all rounds")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"| network, input | TAD step of {IMAGES}, CPU ms | looked up, faster by | once, CPU ms an image | kB |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        shards, results = make_people(Path(name)), []
        for number, size in enumerate(SIZES):
            folder = Path(name) / str(number)
            folder.mkdir()
            results.append(measure(shards, size, arguments.rounds, folder))
    if arguments.json:
        versions = {"threads": arguments.threads, "torch": torch.__version__, "images": IMAGES}
        arguments.json.write_text(json.dumps({**versions, "sizes": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
