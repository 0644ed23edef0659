"""What one image, plan, checkpoint, call or pair costs, measured with the product's own code. Times are CPU seconds of
this process, but for calls of servers.
"""

from __future__ import annotations

import gc
import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlflow import MlflowClient
from mlflow.entities import Metric

from pipelines.recipe import read_experiment
from rlq_ray.collectives import World
from rlq_ray.config.schema import BatchConfig, DataConfig
from rlq_ray.data import DataSet, TargetLoader, split_training
from rlq_ray.data.identity_sampler import identity_batches, num_identity_steps
from rlq_ray.data.read_ahead import EpochPlan
from rlq_ray.data.window import IdentityWindow
from rlq_ray.distributed.progress import nobody
from rlq_ray.distributed.training import run_training
from rlq_ray.evaluate import PROTOCOLS, Labels, rank_protocols
from rlq_ray.storage import Location, locate, write_bytes
from rlq_ray.tracking.mlflow_tracker import MlflowStore
from rlq_ray.train.checkpoint import CheckpointCard, write_checkpoint
from rlq_ray.train.networks import build_optimizer, build_student
from rlq_ray.types import ClassSpace
from scaling.calls import counted_calls
from scaling.data import held_bytes, large_index, open_index

Units = dict[str, float]
IDENTITIES, IMAGES_PER_IDENTITY = 16, 4
WINDOW_MB = 128


def reading(uri: str) -> Units:
    """Read one epoch as one worker does, from a window."""
    dataset = DataSet.open(uri)
    training = split_training(dataset.index, pose_clusters=0, validation_fraction=0)
    batch = BatchConfig(identities=IDENTITIES, images_per_identity=IMAGES_PER_IDENTITY)
    data = DataConfig(
        target=uri, canvas_height=384, canvas_width=192, decode_threads=2, decoder="cpu", window_mb=WINDOW_MB
    )
    with TargetLoader(dataset, training.train_rows, training.classes, batch=batch, data=data, seed=0) as loader:
        began_s = time.process_time()
        for _ in range(loader.steps_per_epoch):
            loader.next_batch()
        cpu_s, counts = time.process_time() - began_s, loader.counts()
    stored = sum(entry.size_bytes for entry in dataset.manifest.shards)
    return {
        "stored_bytes_per_image": stored / len(dataset),
        "index_file_bytes_per_image": dataset.manifest.index.size_bytes / len(dataset),
        "read_bytes_per_image": counts.read_bytes / counts.images,
        "requests_per_image": counts.requests / counts.images,
        "reading_cpu_s_per_image": cpu_s / counts.images,
    }


def planning(uri: str, images: int) -> Units:
    """Open the index of a larger set, and lay out one epoch of it, from a window and from the whole."""
    dataset = DataSet.open(uri)
    content = large_index(dataset, images)
    index, open_s = _timed(lambda: open_index(content))
    rows = index.rows_of_split("train")
    identity, clothes = index.identity.codes[rows].astype(np.int64), index.clothes.codes[rows].astype(np.int64)
    steps = num_identity_steps(len(rows), IDENTITIES, IMAGES_PER_IDENTITY)

    def in_window(places: slice) -> EpochPlan:
        window = IdentityWindow(
            rows, index.group[rows], identity, clothes,
            num_identities=IDENTITIES, images_per_identity=IMAGES_PER_IDENTITY, window_groups=WINDOW_MB // 4, seed=0,
        )  # fmt: skip
        return EpochPlan.of(window.places(places, steps=steps, epoch=0).reshape(steps, -1), index.group)

    def in_whole() -> EpochPlan:
        batches = identity_batches(
            rows, identity, clothes,
            num_identities=IDENTITIES, images_per_identity=IMAGES_PER_IDENTITY, steps=steps, seed=0, epoch=0,
        )  # fmt: skip
        return EpochPlan.of(batches.reshape(steps, -1), index.group)

    _, window_s = _timed(lambda: in_window(slice(0, IDENTITIES)))
    _, lane_s = _timed(lambda: in_window(slice(0, 1)))
    _, whole_s = _timed(in_whole)
    return {
        "index_bytes_per_image": held_bytes(index) / images,
        "index_open_s_per_image": open_s / images,
        "window_plan_s_per_image": window_s / images,
        "lane_plan_s_per_image": lane_s / images,
        "whole_plan_s_per_image": whole_s / images,
    }


def checkpoint(store: Location, identities: int = 1000) -> Units:
    """Write a checkpoint of the published network, with the optimiser's state, and take it to the store."""
    config = read_experiment("rlq", ["data.target=x", "data.external=x", "teacher=x", "model.weights=random"])
    names = tuple(f"{number:05}" for number in range(identities))
    outfits = tuple(f"{name}-{outfit}" for name in names for outfit in range(3))
    classes = ClassSpace(names, outfits, tuple(np.repeat(range(identities), 3).tolist()), pose_clusters=15)
    network = build_student(config, classes, torch.device("cpu"))
    optimizer = build_optimizer(network, config.optimizer)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
    with tempfile.TemporaryDirectory() as name:
        _, write_s = _timed(lambda: write_checkpoint(Path(name), CheckpointCard(config, classes, "", 1, 1), state))
        files = list(Path(name).iterdir())
        began_s = time.monotonic()
        for file in files:
            write_bytes(store / file.name, file.read_bytes())
        put_s = time.monotonic() - began_s
        size = sum(file.stat().st_size for file in files)
    return {
        "parameters": float(sum(parameter.numel() for parameter in network.parameters())),
        "checkpoint_bytes": float(size),
        "checkpoint_write_cpu_s": write_s,
        "checkpoint_put_s": put_s,
    }


def tracking(shards: dict[str, str], folder: Path, uri: str) -> Units:
    """Train the smallest RLQ twice, and count the calls of its tracker: by the step, and by the evaluation."""
    sources = [f"data.{role}={uri_of}" for role, uri_of in shards.items()]

    def train(epochs: int, every: int) -> tuple[int, int, int]:
        rhythm = [f"train.epochs={epochs}", f"train.evaluate_every_epochs={every}", "train.log_every_steps=10"]
        config = read_experiment(
            "tiny_rlq", [*sources, *rhythm, "train.steps_per_epoch=20", "workers.count=1", "teacher=none",
                         "schedule.external=joint", "model.pose_branch=false"]
        )  # fmt: skip
        store = MlflowStore(uri)
        run_id = store.create_run(store.ensure_experiment("units"), f"{epochs}-{every}")
        with counted_calls() as calls:
            run_training(
                config, run="units", world=World(), device=torch.device("cpu"), store=locate(str(folder)),
                tracker=store.attach(run_id), tell=nobody, keep=lambda report, name, place: None,
            )  # fmt: skip
        return calls.answered.total(), calls.points.total(), epochs // every

    (calls, points, few), (more_calls, _, many) = train(4, 4), train(4, 1)
    steps = 4 * 20 * 2
    per_evaluation = (more_calls - calls) / (many - few)
    return {
        "calls_per_step": (calls - few * per_evaluation) / steps,
        "calls_per_evaluation": per_evaluation,
        "points_per_step": points / steps,
    }


def calls(uri: str, callers: int = 8, many: int = 10) -> Units:
    """Time what calls of 200 and of 1,000 points take a server: so many callers, each with its run, ask at once."""
    client, store = MlflowClient(uri), MlflowStore(uri)
    experiment = store.ensure_experiment("units")
    runs = [store.create_run(experiment, f"calls-{number}") for number in range(callers)]
    seconds = {}
    for name, points in (("call_s", 200), ("large_call_s", 1000)):

        def write(run_id: str, calls: range, points: int = points) -> None:
            for call in calls:  # every point is another: one that is there already costs a server more
                places = range(call * points, (call + 1) * points)
                client.log_batch(run_id, metrics=[Metric(f"cap/{points}-{at % 20}", 1.0, 0, at // 20) for at in places])

        with ThreadPoolExecutor(callers) as pool:
            list(pool.map(write, runs, [range(1)] * callers))
            began_s = time.monotonic()
            list(pool.map(write, runs, [range(1, 1 + many)] * callers))
        seconds[name] = (time.monotonic() - began_s) / (callers * many)
    return seconds


def ranking(width: int = 4096, queries: int = 400, gallery: int = 20_000) -> Units:
    """Rank in all protocols at once."""
    rng = np.random.default_rng(0)

    def draw(count: int) -> tuple[np.ndarray, Labels]:
        feat = rng.normal(size=(count, width)).astype(np.float32)
        feat /= np.linalg.norm(feat, axis=1, keepdims=True)
        return feat, Labels(*(rng.integers(most, size=count) for most in (300, 12, 3)))

    def rank(few: int, many: int) -> float:
        (q, query), (g, of_gallery) = draw(few), draw(many)
        return _timed(lambda: rank_protocols(q, g, query, of_gallery, PROTOCOLS))[1]

    rank(8, 200)  # compiles
    seconds = rank(queries, gallery)
    return {"ranking_cpu_s_per_pair": seconds / queries / gallery}


def of_sweeps(json_file: Path) -> Units:
    """Take what a sweep's driver costs from its own benchmark."""
    parts = json.loads(json_file.read_text())["parts"]
    first, last = parts[0], parts[-1]
    grown_mb = last["driver_mb"] - first["driver_mb"]
    return {
        "driver_bytes": first["driver_mb"] * 1e6,
        "driver_bytes_per_trial": grown_mb * 1e6 / (last["trials"] - first["trials"]),
        "seconds_per_trial": last["seconds_per_trial"],
    }


def _timed(act: Callable[[], Any]) -> tuple[Any, float]:
    gc.collect()
    began_s = time.process_time()
    result = act()
    return result, time.process_time() - began_s
