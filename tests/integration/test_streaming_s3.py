"""Batches from a real S3 server: the same as from a disk, through an outage, and clear words for what is wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cluster.object_store import ObjectStore, start_object_store
from rlq_ray.config.schema import BatchConfig, DataConfig
from rlq_ray.data import DataSet, TargetLoader, forget_identity, ingest, split_training
from rlq_ray.distributed.runs import find_run
from rlq_ray.errors import DataError, StorageError
from rlq_ray.storage import exists, locate, read_bytes, write_bytes
from rlq_ray.tracking.mlflow_tracker import MlflowStore
from rlq_ray.train.checkpoint import read_state

IDENTITIES, IMAGES = 12, 40
EPOCHS, STEPS_PER_EPOCH = 5, 20
OUTAGE_S = 30
WINDOW = {"window_mb": 10, "cache_mb": 10}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise in the LTCC layout, 55 KB an image: each identity fills a row group, and few fit into the window."""
    root = tmp_path_factory.mktemp("noise")
    for split in ("train", "query", "test"):
        (root / split).mkdir()
    generator = np.random.default_rng(0)
    for identity in range(IDENTITIES + 1):
        split = "train" if identity < IDENTITIES else "test"
        for shot in range(IMAGES):
            pixels = generator.integers(0, 256, (192, 96, 3), dtype=np.uint8)
            name = f"{identity:03d}_{shot % 2}_c{1 + shot % 3}_{shot:06d}.png"
            Image.fromarray(pixels).save(root / split / name)
    return root


@pytest.fixture
def uri(folder: Path, s3_uri: str) -> str:
    ingest(folder, "ltcc", s3_uri, name="noise")
    return s3_uri


def open_loader(dataset: DataSet, **options: object) -> TargetLoader:
    split = split_training(dataset.index, pose_clusters=0)
    data = DataConfig(target="-", canvas_height=192, canvas_width=96, **WINDOW)
    batch = BatchConfig(identities=4, images_per_identity=4)
    return TargetLoader(dataset, split.train_rows, split.classes, batch=batch, data=data, seed=2, **options)


def take(loader: TargetLoader, count: int) -> list[torch.Tensor]:
    with loader:
        return [loader.next_batch().image_BCHW.clone() for _ in range(count)]


def test_batches_are_those_of_a_local_copy(folder: Path, uri: str, tmp_path: Path) -> None:
    ingest(folder, "ltcc", tmp_path / "local", name="noise")
    here, there = (open_loader(DataSet.open(place, cache_mb=10)) for place in (str(tmp_path / "local"), uri))
    assert here.steps_per_epoch > 10
    steps = 2 * here.steps_per_epoch
    for ours, theirs in zip(take(here, steps), take(there, steps), strict=True):
        assert torch.equal(ours, theirs)


def test_workers_of_a_node_read_from_the_store_once(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLQ_CACHE", str(tmp_path))
    first, second = (DataSet.open(uri, disk_cache_mb=100) for _ in range(2))
    images = [take(open_loader(dataset), 20) for dataset in (first, second)]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*images, strict=True))
    assert first.counts().requests > 0
    assert second.counts().requests == 0
    kept = set(tmp_path.glob("*/*.rows"))
    next(iter(kept)).write_bytes(b"rot")
    third = DataSet.open(uri, disk_cache_mb=100)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(take(open_loader(third), 20), images[0], strict=True))
    assert third.counts().requests == 2  # the size of the shard, and the row group that rotted
    forget_identity(uri, third.index.identity[0])
    DataSet.open(uri, disk_cache_mb=100)
    assert not kept & set(tmp_path.glob("*/*.rows")), "what was erased is left on the disk"


def test_a_truncated_shard_is_named(uri: str) -> None:
    dataset = DataSet.open(uri)
    shard = locate(uri) / dataset.manifest.shards[0].path
    write_bytes(shard, read_bytes(shard)[:-1000])
    loader = open_loader(DataSet.open(uri))
    with pytest.raises(DataError, match=rf"{shard} has \d+ bytes, the manifest says \d+: it was cut off") as caught:
        take(loader, 1)
    assert "\n" not in str(caught.value)


def test_wrong_credentials_end_at_once_in_one_line(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = open_loader(DataSet.open(uri))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StorageError, match=r"cannot read s3://.*: .*; check") as caught:
        take(loader, 1)
    assert "\n" not in str(caught.value)
    command = [sys.executable, "-m", "pipelines.cli", "train", "tiny_base", f"data.target={uri}"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert told.stderr.startswith(f"error: cannot reach {uri}"), told.stderr
    assert told.stderr.count("\n") == 1


@dataclass(frozen=True)
class Training:
    """A training by the command line whose data lie in an S3 server of its own."""

    name: str
    home: Path
    process: subprocess.Popen

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.home}/mlflow.db"

    def wait_for_checkpoint(self) -> None:
        snapshot = locate(self.home) / "runs" / self.name / "checkpoint_manager_snapshot.json"
        deadline_s = time.monotonic() + 150
        while not (exists(snapshot) and b"epoch_0000" in read_bytes(snapshot)):
            assert self.process.poll() is None, (self.home / "log").read_text()
            assert time.monotonic() < deadline_s, (self.home / "log").read_text()
            time.sleep(0.05)

    def final_state(self) -> dict:
        return read_state(locate(self.home) / "runs" / self.name / f"epoch_{EPOCHS:05d}")


@pytest.fixture
def own_store(service_folder: Path) -> Iterator[ObjectStore]:
    store = start_object_store(service_folder / "s3-own")
    yield store
    store.stop(grace_s=0)


def start_training(name: str, target: str, home: Path, store: ObjectStore) -> Training:
    home.mkdir()
    settings = [
        *(f"data.target={target}", "data.window_mb=10", "data.cache_mb=10", "data.prefetch_batches=0"),
        *("data.read_ahead_batches=0", f"train.epochs={EPOCHS}", f"train.steps_per_epoch={STEPS_PER_EPOCH}"),
        *("augment.recolour=false", "loss.weights.pose=0", "loss.weights.gender=0", "model.pose_branch=false"),
        *("model.gender_head=false", "loss.weights.disentangle=0"),
    ]
    where = ["--store", str(home), "--tracking-uri", f"sqlite:///{home}/mlflow.db", "--name", name]
    environment = os.environ | store.environment
    environment.pop("RAY_ADDRESS", None)
    with (home / "log").open("wb") as log:
        command = [sys.executable, "-m", "pipelines.cli", "train", "tiny_base", *settings, *where]
        return Training(name, home, subprocess.Popen(command, env=environment, stdout=log, stderr=log))


def test_an_outage_in_mid_epoch_changes_nothing_but_time(
    folder: Path, own_store: ObjectStore, service_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in own_store.environment.items():
        monkeypatch.setenv(name, value)
    target = f"{own_store.uri}/noise"
    ingest(folder, "ltcc", target, name="noise")
    ingest(folder, "ltcc", tmp_path / "local", name="noise")
    disturbed = start_training("disturbed", target, tmp_path / "disturbed", own_store)
    disturbed.wait_for_checkpoint()
    own_store.service.stop(0)
    began_s = time.monotonic()
    calm = start_training("calm", str(tmp_path / "local"), tmp_path / "calm", own_store)
    assert calm.process.wait(timeout=200) == 0, (calm.home / "log").read_text()
    time.sleep(max(0, OUTAGE_S - (time.monotonic() - began_s)))
    assert disturbed.process.poll() is None, "the outage ended the run, or came too late"
    again = start_object_store(service_folder / "s3-own", port=own_store.ports[0])
    try:
        assert disturbed.process.wait(timeout=200) == 0, (disturbed.home / "log").read_text()
    finally:
        again.stop(grace_s=0)

    for key, tensor in calm.final_state()["network"].items():
        torch.testing.assert_close(tensor, disturbed.final_state()["network"][key], rtol=0, atol=1e-6, msg=key)
    entry = find_run(locate(disturbed.home), "disturbed")
    assert entry is not None
    store = MlflowStore(disturbed.tracking_uri)
    losses = [point.step for point in store.metric_history(entry.mlflow_run_id, "cap/loss")]
    assert losses == list(range(EPOCHS * STEPS_PER_EPOCH)), "no worker was restarted"
    assert store.run(entry.mlflow_run_id).metrics["loading/cap/retries"] > 0
    shutil.rmtree(service_folder / "s3-own", ignore_errors=True)
