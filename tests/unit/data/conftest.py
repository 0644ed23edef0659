"""A miniature LTCC folder: 6 training, 3 test identities, 2 outfits each, with every side file."""

from __future__ import annotations

import csv
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlq_ray.data import DataSet, SideFiles, ingest

HEIGHT, WIDTH = 48, 24
TRAIN_IDENTITIES = tuple(f"{number:03d}" for number in range(6))
TEST_IDENTITIES = tuple(f"{number:03d}" for number in range(6, 9))


@dataclass(frozen=True)
class Folder:
    """Where the pieces lie."""

    root: Path
    gender: Path
    keypoints: Path
    masks: Path

    @property
    def side_files(self) -> SideFiles:
        return SideFiles(gender=self.gender, keypoints=self.keypoints, masks=self.masks, pose_k=3)


def pixels_of(stem: str, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(stem.encode())).integers(0, 256, (height, width, 3), dtype=np.uint8)


def make_folder(base: Path, images_per_outfit: int = 3) -> Folder:
    """Write the folder below a parent whose name looks like a camera, as `re_cc` does."""
    root = base / "re_cc"
    folder = Folder(root, base / "gender.csv", base / "keypoints.json", base / "masks")
    folder.masks.mkdir(parents=True)
    people = []
    for split, identities in (("train", TRAIN_IDENTITIES), ("query", TEST_IDENTITIES), ("test", TEST_IDENTITIES)):
        (root / "LTCC_ReID" / split).mkdir(parents=True)
        for identity in identities:
            for outfit in (1, 2):
                for shot in range(images_per_outfit if split == "train" else 1):
                    camera = 1 + (outfit + shot + (split == "test")) % 4
                    stem = f"{identity}_{outfit}_c{camera}_{shot:06d}"
                    Image.fromarray(pixels_of(stem)).save(root / "LTCC_ReID" / split / f"{stem}.png")
                    write_masks(folder.masks, stem)
                    people.append(person(f"{stem}.png", zlib.crc32(stem.encode()), score=2.0))
    with folder.gender.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["Category", "ID", "Gender"])
        for identity in (*TRAIN_IDENTITIES, *TEST_IDENTITIES):
            writer.writerow(["train" if identity in TRAIN_IDENTITIES else "test", int(identity), int(identity) % 2])
    folder.keypoints.write_text(json.dumps(people))
    return folder


def person(image: str, seed: int, score: float) -> dict[str, object]:
    joints = np.random.default_rng(seed).uniform(0, 1, (17, 3)) * (WIDTH, HEIGHT, 1)
    return {"image_id": image, "score": score, "keypoints": joints.ravel().tolist()}


def write_masks(folder: Path, stem: str) -> None:
    shirt, trousers = np.zeros((2, HEIGHT, WIDTH), dtype=np.uint8)
    shirt[10:20, 4:20], trousers[20:40, 6:18] = 255, 255
    for name, mask in (("shirt", shirt), ("pant", trousers), ("clothes", shirt | trousers)):
        Image.fromarray(mask).save(folder / f"{stem}_{name}.png")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return make_folder(tmp_path)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Not to be changed."""
    return make_folder(tmp_path_factory.mktemp("folder"))


@pytest.fixture(scope="session")
def large_folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The same with 60 images of each training identity; not to be changed."""
    return make_folder(tmp_path_factory.mktemp("large"), images_per_outfit=30)


@pytest.fixture(scope="session")
def shared_uri(shared_folder: Folder, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Not to be changed."""
    uri = tmp_path_factory.mktemp("data") / "mini"
    ingest(shared_folder.root, "ltcc", uri, name="mini", side_files=shared_folder.side_files, licence="none")
    return str(uri)


@pytest.fixture
def dataset(shared_uri: str) -> DataSet:
    return DataSet.open(shared_uri)
