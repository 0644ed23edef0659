"""Write the rendered people to disk in LTCC's layout, part by part.

Parts are independent: each renders its own identities and returns a summary; `finish` joins the summaries into the side
files and writes the marker `people.json` last, so that a set without the marker is known to be unfinished.

    root/LTCC_ReID/{train,query,test}/PID_CLOTH_cCAM_FRAME.png    "test" is the gallery
    root/masks/{stem}_{shirt,pant,clothes}.png                    non-zero is cloth
    root/masks/faulty.csv                                         stems of images without any shirt or trousers in sight
    root/keypoints.json                                           AlphaPose results, COCO-17
    root/gender.csv                                               Category,ID,Gender; 1 male, 0 female
    root/people.json                                              what was rendered
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rlq_ray.people.body import load_body
from rlq_ray.people.identity import POPULATION_STREAMS, Population
from rlq_ray.people.presets import Preset
from rlq_ray.people.render import Frame, render_frame

Split = Literal["train", "query", "test"]
MARKER = "people.json"
FAST_COMPRESSION = 1  # higher levels cost more time than rendering and save little on noisy images


@dataclass(frozen=True)
class Shot:
    """One image to render: its indices, its split and its file stem."""

    identity: int
    outfit: int
    camera: int
    frame: int
    split: Split
    stem: str


@dataclass(frozen=True)
class PartSummary:
    """What one part wrote; plain values, so that it travels between processes.

    Attributes:
        keypoints: file name -> 17 × (x, y, score), flat.
        genders: identity -> 1 male, 0 female.
        faulty: stems of images whose shirt or trousers cannot be seen.
    """

    preset: Preset
    population: Population
    seed: int
    part: int
    num_parts: int
    images: dict[str, int]
    keypoints: dict[str, list[float]]
    genders: dict[int, int]
    faulty: tuple[str, ...]


@dataclass(frozen=True)
class DatasetFolders:
    """Where a finished set lies."""

    root: str
    images: str
    masks: str
    faulty_masks: str
    keypoints: str
    gender: str
    marker: str


def identity_count(preset: Preset, population: Population) -> int:
    """Return how many people one population of a preset has."""
    return _own_count(preset, population) or preset.train_identities + preset.test_identities


def training_count(preset: Preset, population: Population) -> int:
    """Return how many of them are there to train on; the first ones."""
    return _own_count(preset, population) or preset.train_identities


def _own_count(preset: Preset, population: Population) -> int:
    """Return how many people a population has by a number of its own, all to train on; 0 if it has none."""
    return preset.external_identities if population == "external" else 0


def plan_shots(preset: Preset, *, population: Population, seed: int, identity: int) -> list[Shot]:
    """Return the images of one identity.

    All cameras of one identity differ between its outfits, so each query keeps clothes-changing matches from other
    cameras. Of a test identity's frames in one camera the first is a query, the others gallery; with a single frame the
    first camera of each outfit is query and the others gallery.
    """
    rng = np.random.default_rng([seed, POPULATION_STREAMS[population], 6, identity])
    is_training = identity < training_count(preset, population)
    cameras = rng.permutation(preset.cameras)[: preset.outfits * preset.cameras_per_outfit]
    shots = []
    for outfit in range(preset.outfits):
        for turn in range(preset.cameras_per_outfit):
            camera = int(cameras[outfit * preset.cameras_per_outfit + turn])
            for frame in range(preset.frames):
                is_query = frame == 0 if preset.frames > 1 else turn == 0
                split: Split = "train" if is_training else "query" if is_query else "test"
                stem = f"{identity:03d}_{outfit + 1}_c{camera + 1}_{frame + 1:06d}"
                shots.append(Shot(identity, outfit, camera, frame, split, stem))
    return shots


def write_part(
    root: str, preset: Preset, *, population: Population, seed: int, part: int, num_parts: int
) -> PartSummary:
    """Render the identities i with i % num_parts == part into `root`.

    Raises:
        ValueError: no such part, or more identities in both populations than the body model has.
    """
    if not 0 <= part < num_parts:
        raise ValueError(f"part {part} of {num_parts}: give 0 <= part < num_parts")
    asked, available = sum(identity_count(preset, name) for name in POPULATION_STREAMS), load_body().num_bodies
    if asked > available:
        raise ValueError(
            f"{asked} identities asked in target and external set together, there are {available} bodies: lower"
            " train_identities, test_identities or external_identities"
        )
    _remove_marker(Path(root))
    images = dict.fromkeys(("train", "query", "test"), 0)
    keypoints: dict[str, list[float]] = {}
    genders: dict[int, int] = {}
    faulty = []
    for split in images:
        _split_folder(Path(root), split).mkdir(parents=True, exist_ok=True)
    _mask_folder(Path(root)).mkdir(parents=True, exist_ok=True)
    for identity in range(part, identity_count(preset, population), num_parts):
        for shot in plan_shots(preset, population=population, seed=seed, identity=identity):
            frame = render_frame(
                preset,
                population=population,
                seed=seed,
                identity=identity,
                outfit=shot.outfit,
                camera=shot.camera,
                frame=shot.frame,
            )
            name = _write_frame(Path(root), shot, frame)
            images[shot.split] += 1
            keypoints[name] = [round(float(value), 3) for value in frame.keypoints_J3.reshape(-1)]
            genders[identity] = frame.gender
            if not (frame.shirt_HW.any() and frame.trousers_HW.any()):
                faulty.append(shot.stem)
    return PartSummary(preset, population, seed, part, num_parts, images, keypoints, genders, tuple(faulty))


@dataclass(frozen=True)
class PartJob:
    """What `write_part` is to do, as a value that travels to a worker."""

    root: str
    preset: Preset
    population: Population
    seed: int
    part: int
    num_parts: int


def write_part_of(job: PartJob) -> PartSummary:
    """Do a job of `write_part`."""
    return write_part(
        job.root, job.preset, population=job.population, seed=job.seed, part=job.part, num_parts=job.num_parts
    )


def finish(root: str, preset: Preset, summaries: Sequence[PartSummary]) -> DatasetFolders:
    """Write the side files of a set whose parts are all rendered, and last the marker.

    Raises:
        ValueError: parts are missing, doubled, or of different sets.
    """
    _check_parts(preset, summaries)
    base, population = Path(root), summaries[0].population
    keypoints = {name: values for summary in summaries for name, values in summary.keypoints.items()}
    genders = {pid: gender for summary in summaries for pid, gender in summary.genders.items()}
    results = [
        {"image_id": name, "category_id": 1, "keypoints": values, "score": round(sum(values[2::3]) / 17, 3)}
        for name, values in sorted(keypoints.items())
    ]
    folders = DatasetFolders(
        root=root,
        images=str(base / "LTCC_ReID"),
        masks=str(_mask_folder(base)),
        faulty_masks=str(_mask_folder(base) / "faulty.csv"),
        keypoints=str(base / "keypoints.json"),
        gender=str(base / "gender.csv"),
        marker=str(base / MARKER),
    )
    Path(folders.keypoints).write_text(json.dumps(results), encoding="utf-8")
    faulty = sorted(stem for summary in summaries for stem in summary.faulty)
    Path(folders.faulty_masks).write_text("".join(f"{stem}\n" for stem in faulty), encoding="utf-8")
    with Path(folders.gender).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("Category", "ID", "Gender"))
        for category in ("train", "query", "test"):
            for pid, gender in sorted(genders.items()):
                if (pid < training_count(preset, population)) == (category == "train"):
                    table.writerow((category, f"{pid:03d}", gender))
    counts = {split: sum(summary.images[split] for summary in summaries) for split in ("train", "query", "test")}
    marker = {
        "preset": asdict(preset),
        "population": population,
        "seed": summaries[0].seed,
        "identities": identity_count(preset, population),
        "images": counts,
        "faulty_masks": len(faulty),
    }
    Path(folders.marker).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
    return folders


def _check_parts(preset: Preset, summaries: Sequence[PartSummary]) -> None:
    if not summaries:
        raise ValueError("no parts to finish: call write_part first")
    sets = {(s.preset, s.population, s.seed, s.num_parts) for s in summaries}
    if len(sets) > 1 or summaries[0].preset != preset:
        raise ValueError(
            f"parts of {len(sets)} different sets: finish parts of one preset, population, seed and num_parts"
        )
    parts = sorted(summary.part for summary in summaries)
    if parts != list(range(summaries[0].num_parts)):
        raise ValueError(f"parts {parts} of {summaries[0].num_parts}: render each part exactly once")


def _split_folder(root: Path, split: str) -> Path:
    return root / "LTCC_ReID" / split


def _mask_folder(root: Path) -> Path:
    return root / "masks"


def _remove_marker(root: Path) -> None:
    (root / MARKER).unlink(missing_ok=True)


def _write_frame(root: Path, shot: Shot, frame: Frame) -> str:
    name = f"{shot.stem}.png"
    Image.fromarray(frame.image_HW3).save(_split_folder(root, shot.split) / name, compress_level=FAST_COMPRESSION)
    masks = {"shirt": frame.shirt_HW, "pant": frame.trousers_HW, "clothes": frame.shirt_HW | frame.trousers_HW}
    for kind, mask in masks.items():
        _write_mask(_mask_folder(root) / f"{shot.stem}_{kind}.png", mask)
    return name


def _write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    Image.fromarray(mask.astype(np.uint8) * 255).save(path, compress_level=FAST_COMPRESSION)
