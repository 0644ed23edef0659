from __future__ import annotations

import csv
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlq_ray.people.dataset import PartSummary, finish, identity_count, plan_shots, training_count, write_part
from rlq_ray.people.presets import PRESETS, Preset


def render(
    root: Path, preset: Preset, num_parts: int, *, population: str = "target", seed: int = 5
) -> list[PartSummary]:
    return [
        write_part(str(root), preset, population=population, seed=seed, part=part, num_parts=num_parts)
        for part in range(num_parts)
    ]


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, preset: Preset) -> Path:
    root = tmp_path_factory.mktemp("whole")
    finish(str(root), preset, render(root, preset, 1))
    return root


def test_parts_give_the_same_files_as_the_whole(whole: Path, tmp_path: Path, preset: Preset) -> None:
    finish(str(tmp_path), preset, render(tmp_path, preset, 3)[::-1])
    assert contents(tmp_path) == contents(whole)


def test_summary_travels_between_processes(tmp_path: Path, preset: Preset) -> None:
    summary = write_part(str(tmp_path), preset, population="external", seed=1, part=4, num_parts=5)
    assert pickle.loads(pickle.dumps(summary)) == summary
    assert summary.genders.keys() == {4}


def test_nothing_looks_whole_before_finish(tmp_path: Path, preset: Preset) -> None:
    (tmp_path / "people.json").write_text("{}")
    summaries = render(tmp_path, preset, 2)
    assert not (tmp_path / "people.json").exists()
    folders = finish(str(tmp_path), preset, summaries)
    marker = json.loads(Path(folders.marker).read_text())
    assert marker["images"] == {"train": 8, "query": 6, "test": 6}
    assert marker["population"] == "target"
    assert marker["seed"] == 5


def test_finish_refuses_missing_doubled_and_mixed_parts(tmp_path: Path, preset: Preset) -> None:
    small = replace(preset, train_identities=1, test_identities=1)
    parts = render(tmp_path, small, 2)
    with pytest.raises(ValueError, match="exactly once"):
        finish(str(tmp_path), small, parts[:1])
    with pytest.raises(ValueError, match="exactly once"):
        finish(str(tmp_path), small, [parts[0], parts[0]])
    with pytest.raises(ValueError, match="different sets"):
        finish(str(tmp_path), small, [parts[0], replace(parts[1], seed=6)])
    with pytest.raises(ValueError, match="write_part first"):
        finish(str(tmp_path), small, [])
    assert not (tmp_path / "people.json").exists()


def test_refuses_impossible_sizes(tmp_path: Path, preset: Preset) -> None:
    crowd = replace(preset, train_identities=500, test_identities=200)
    with pytest.raises(ValueError, match=r"1400 identities asked .* there are 1000 bodies"):
        write_part(str(tmp_path), crowd, population="external", seed=0, part=0, num_parts=700)
    with pytest.raises(ValueError, match="part 3 of 3"):
        write_part(str(tmp_path), preset, population="target", seed=0, part=3, num_parts=3)
    with pytest.raises(ValueError, match="raise cameras"):
        replace(preset, outfits=5)


def test_side_files_name_every_image(whole: Path, preset: Preset) -> None:
    images = {path.name: path for path in (whole / "LTCC_ReID").rglob("*.png")}
    assert len(images) == identity_count(preset, "target") * preset.images_per_identity
    results = json.loads((whole / "keypoints.json").read_text())
    assert [result["image_id"] for result in results] == sorted(images)
    assert {len(result["keypoints"]) for result in results} == {51}
    for path in images.values():
        with Image.open(path) as image:
            assert image.size == (preset.width, preset.height)
        masks = {
            k: np.asarray(Image.open(whole / "masks" / f"{path.stem}_{k}.png")) for k in ("shirt", "pant", "clothes")
        }
        assert not (masks["shirt"] & masks["pant"]).any()
        assert np.array_equal(masks["clothes"], masks["shirt"] | masks["pant"])
    faulty = (whole / "masks" / "faulty.csv").read_text().split()
    assert set(faulty) <= {path.stem for path in images.values()}


def test_gender_table_lists_each_identity_of_each_split(whole: Path) -> None:
    with (whole / "gender.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["Category"], row["ID"]) for row in rows] == [
        *(("train", f"{pid:03d}") for pid in (0, 1)),
        *(("query", f"{pid:03d}") for pid in (2, 3, 4)),
        *(("test", f"{pid:03d}") for pid in (2, 3, 4)),
    ]
    assert {row["Gender"] for row in rows} <= {"0", "1"}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_each_query_keeps_a_clothes_changing_match(name: str) -> None:
    preset = PRESETS[name]
    for population in ("target", "external"):
        for identity in range(training_count(preset, population), identity_count(preset, population)):
            shots = plan_shots(preset, population=population, seed=0, identity=identity)
            gallery = [shot for shot in shots if shot.split == "test"]
            for query in (shot for shot in shots if shot.split == "query"):
                assert any(g.outfit != query.outfit and g.camera != query.camera for g in gallery)
                assert any(g.outfit == query.outfit and g.camera != query.camera for g in gallery)
            assert len({shot.stem for shot in shots}) == preset.images_per_identity


def test_a_larger_external_set_is_all_for_training(preset: Preset) -> None:
    larger = replace(preset, external_identities=7)
    assert identity_count(larger, "external") == training_count(larger, "external") == 7
    assert identity_count(larger, "target") == identity_count(preset, "target")
    for identity in (0, 6):
        shots = plan_shots(larger, population="external", seed=0, identity=identity)
        assert {shot.split for shot in shots} == {"train"}
