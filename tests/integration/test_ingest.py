"""Ingests that are killed and called again, on Ray and into S3, and a person who leaves a data set there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.ingest import ingest_folder, side_files_of
from pipelines.poses import centroids_file, cluster_folder
from rlq_ray.data import (
    DataSet,
    Manifest,
    SideFiles,
    finish_ingest,
    forget_identity,
    ingest,
    plan_ingest,
    read_manifest,
    start_ingest,
    write_shard,
)
from rlq_ray.data.poses import PoseVariant
from rlq_ray.errors import DataError, StorageError
from rlq_ray.storage import list_files, locate

NUM_SHARDS = 4
IMAGES_PER_IDENTITY = 32
IDENTITIES_PER_SHARD = 64
FOLDERS = ("bounding_box_train", "query", "bounding_box_test")


def make_root(root: Path, num_identities: int, images_per_identity: int) -> Path:
    """Write tiny images in the layout of Market-1501, a third of the identities into each folder."""
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    for number in range(num_identities):
        file = root / FOLDERS[number * 3 // num_identities] / f"{number + 1:04d}_c1s1_000000_00.png"
        Image.fromarray(np.full((8, 4, 3), number % 251, dtype=np.uint8)).save(file)
        for frame in range(1, images_per_identity):
            content = file.read_bytes()
            file.with_name(f"{number + 1:04d}_c1s1_{frame:06d}_00.png").write_bytes(content)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that fills several shards; not to be changed."""
    return make_root(tmp_path_factory.mktemp("m") / "market", NUM_SHARDS * IDENTITIES_PER_SHARD, IMAGES_PER_IDENTITY)


@pytest.fixture(scope="module")
def undisturbed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """What one process makes of the folder without Ray."""
    return ingest(root, "market1501", tmp_path_factory.mktemp("u") / "set", name="market")


@contextlib.contextmanager
def ingesting(root: Path, to: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Call the command in a process with its own Ray; in the end both are gone, and so is Ray's folder."""
    command = [sys.executable, "-m", "pipelines.cli", "data", "ingest", "--layout", "market1501"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("RAY_ADDRESS", None)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--root", str(root), "--to", to], env=environment, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        end_with_ray(process)


def end_with_ray(process: subprocess.Popen[bytes]) -> None:
    """Kill a driver, then what it started, and remove Ray's folder."""
    started = descendants(process.pid)
    folders = re.findall(r"/tmp/rlq-ray-\w+", " ".join(map(command_line, started)))
    process.kill()
    process.wait()
    for pid in started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(map(command_line, started)), "Ray to end")
    for folder in set(folders):
        shutil.rmtree(folder, ignore_errors=True)


def descendants(parent: int) -> list[int]:
    """List a process's children, and theirs."""
    try:
        tasks = list(Path(f"/proc/{parent}/task").iterdir())
        children = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    except OSError:
        return []
    return [pid for child in children for pid in (child, *descendants(child))]


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def worker_of(driver: subprocess.Popen[bytes]) -> int | None:
    """Find a process that does a task."""
    assert driver.poll() is None, "it ended before a worker was seen"
    return next((pid for pid in descendants(driver.pid) if command_line(pid).startswith("ray::_call")), None)


def wait_for(condition: Callable[[], Any], what: str, patience_s: float = 60.0) -> Any:
    deadline_s = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"waited {patience_s} s for {what}"
        time.sleep(0.02)
    return found


def ledger(to: str) -> list[str]:
    return [file.uri for file in list_files(locate(to) / "ingest", ".json") if "/part-" in file.uri]


def test_killed_with_all_of_ray_and_called_again_it_makes_the_same(
    root: Path, undisturbed: Manifest, s3_uri: str, tmp_path: Path
) -> None:
    assert len(undisturbed.shards) == NUM_SHARDS
    with ingesting(root, s3_uri, tmp_path / "first.log") as process:  # and killed in the end
        wait_for(lambda: ledger(s3_uri), "the first shard")
    finished = len(ledger(s3_uri))
    assert 0 < finished < NUM_SHARDS
    with pytest.raises(DataError, match="no data set at"):
        DataSet.open(s3_uri)
    with ingesting(root, s3_uri, tmp_path / "second.log") as process:
        worker = wait_for(lambda: worker_of(process), "a worker")
        with contextlib.suppress(ProcessLookupError):  # a short task may be over by now
            os.kill(worker, signal.SIGKILL)
        assert process.wait(90) == 0, (tmp_path / "second.log").read_text()
    assert f"{finished} of {NUM_SHARDS} shards are there already" in (tmp_path / "second.log").read_text()
    manifest = read_manifest(locate(s3_uri))
    assert manifest.content_hash == undisturbed.content_hash
    assert len(list_files(locate(s3_uri))) == NUM_SHARDS + 2


def test_a_truncated_image_is_named_and_the_old_set_stays(ray_cluster: object, tmp_path: Path, s3_uri: str) -> None:
    root = make_root(tmp_path / "market", 6, 2)
    arguments = {"name": "market", "side_files": SideFiles()}
    first = ingest_folder(root, "market1501", s3_uri, **arguments)
    damaged = root / "query" / "0003_c1s1_000001_00.png"
    damaged.write_bytes(damaged.read_bytes()[:45])
    with pytest.raises(DataError, match=f"cannot decode .*{damaged.name}.*: replace or remove the file"):
        ingest_folder(root, "market1501", s3_uri, **arguments)
    dataset = DataSet.open(s3_uri)
    assert dataset.manifest == first
    assert len(dataset.read_rows(range(12))) == 12
    damaged.unlink()
    assert ingest_folder(root, "market1501", s3_uri, **arguments).splits["query"].images == 3
    assert ledger(s3_uri) == []


def test_of_two_ingests_at_once_the_later_wins(tmp_path: Path, s3_uri: str) -> None:
    roots = [make_root(tmp_path / name, people, 2) for name, people in (("earlier", 6), ("later", 9))]
    plans = [plan_ingest(root, "market1501", s3_uri, name=root.name, shard_rows=4) for root in roots]
    started, written = [], []
    for plan in plans:
        started.append(start_ingest(plan))
        written.append([write_shard(job) for job in started[-1].jobs])
    with pytest.raises(StorageError, match=r"was claimed meanwhile by process \d+ on .*: let one at a time write"):
        finish_ingest(plans[0], written[0], started[0].claim)
    with pytest.raises(DataError, match="no data set at"):
        DataSet.open(s3_uri)
    finish_ingest(plans[1], written[1], started[1].claim)
    with pytest.raises(StorageError, match=r"was (claimed|deleted) meanwhile"):
        finish_ingest(plans[0], written[0], started[0].claim)
    dataset = DataSet.open(s3_uri)
    assert dataset.manifest.name == "later"
    assert len(dataset.read_rows(range(18))) == 18


def test_an_identity_leaves_a_data_set_in_s3(s3_uri: str, tmp_path: Path) -> None:
    ingest(make_root(tmp_path / "market", 9, 2), "market1501", s3_uri, name="market")
    forgotten = forget_identity(s3_uri, "0005")
    dataset = DataSet.open(s3_uri)
    assert (forgotten.num_images, forgotten.num_rewritten, len(dataset)) == (2, 1, 16)
    assert "0005" not in set(dataset.index.identity.tolist())
    kept = {entry.path for entry in (*dataset.manifest.shards, dataset.manifest.index)}
    left = {file.uri.removeprefix(f"{s3_uri}/") for file in list_files(locate(s3_uri))}
    assert left == {*kept, "manifest.json"}


def test_clusters_written_as_a_file_are_those_of_the_skeletons(ray_cluster: object, tmp_path: Path) -> None:
    root = make_root(tmp_path / "market", 30, 2)
    generator = np.random.default_rng(0)
    people = [
        {"image_id": file.name, "score": 1.0, "keypoints": generator.uniform(0, 8, 51).tolist()}
        for file in sorted(root.rglob("*.png"))[1:]
    ]
    keypoints, table = tmp_path / "keypoints.json", tmp_path / "poses.csv"
    keypoints.write_text(json.dumps(people))
    columns: list[tuple[PoseVariant, int]] = [("R_LA", 3), ("R_LAC", 5)]
    fitted = cluster_folder(root, "market1501", keypoints, table, columns=columns)
    assert table.read_text().startswith("Category,Image,R_LA_3,R_LAC_5\n")
    poses = {}
    for name, options in {
        "fitted": {"keypoints": keypoints},
        "joined": {"poses": table},
        "given": {"keypoints": keypoints, "centroids": str(centroids_file(table))},
    }.items():
        given = {"poses": None, "keypoints": None} | options
        side_files = side_files_of(None, masks=None, k=5, variant="R_LAC", partial=False, **given)
        manifest = ingest_folder(root, "market1501", str(tmp_path / name), name=name, side_files=side_files)
        assert manifest.pose is not None
        assert manifest.pose.centroids == (() if name == "joined" else fitted[1].centroids)
        poses[name] = DataSet.open(str(tmp_path / name)).index.pose.tolist()
    assert poses["fitted"] == poses["joined"] == poses["given"]
    assert (poses["fitted"].count(0), max(poses["fitted"])) == (1, 5)
