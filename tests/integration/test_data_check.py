"""`rlq data check` on a real cluster: a sound set in S3 passes, and every fault ends with status 1 and is named."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from pipelines.cli import main
from rlq_ray.data import SideFiles, ingest, read_manifest
from rlq_ray.storage import locate, read_bytes, write_bytes


@dataclass(frozen=True)
class Answer:
    """What a call gave; `report` is what it printed as JSON."""

    status: int
    stdout: str
    stderr: str

    @property
    def report(self) -> dict:
        return json.loads(self.stdout)

    def finding(self, code: str) -> dict:
        (found,) = [finding for finding in self.report["findings"] if finding["code"] == code]
        return found


@pytest.fixture
def check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ray_cluster: object
) -> Callable[..., Answer]:
    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["rlq", "data", "check", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return Answer(int(end.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def folder(tiny_people, tmp_path: Path) -> Path:
    """Rendered people in the LTCC layout, to be spoiled."""
    return Path(shutil.copytree(tiny_people.folders["target"], tmp_path / "people"))


def files_of(folder: Path, split: str) -> list[Path]:
    return sorted((folder / "LTCC_ReID" / split).glob("*.png"))


@pytest.fixture
def stored(tiny_people, s3_uri: str) -> str:
    folder = tiny_people.folders["target"]
    side_files = SideFiles(
        gender=folder / "gender.csv", keypoints=folder / "keypoints.json", masks=folder / "masks", pose_k=5
    )
    ingest(folder, "ltcc", s3_uri, name="tiny", side_files=side_files)
    return s3_uri


def test_a_sound_set_in_s3_passes(check: Callable[..., Answer], stored: str) -> None:
    answer = check(stored, "--json")
    assert answer.status == 0, answer.stdout + answer.stderr
    report = answer.report
    assert (report["sound"], report["findings"], report["data"], report["layout"]) == (True, [], stored, "ltcc")
    assert [note["code"] for note in report["notes"]] == ["published-size"]
    assert report["content_hash"] == read_manifest(locate(stored)).content_hash
    assert {split: counts["images"] for split, counts in report["splits"].items()} == {
        "train": 32,
        "query": 16,
        "gallery": 16,
    }
    assert report["images"]["heights"] == [{"first": 128, "last": 128, "images": 64}]
    assert report["images"]["masks"] == 3 * 64
    assert report["side_files"] == {name: {"training": 1.0, "all": None} for name in ("gender", "pose", "masks")}
    assert report["duplicates"] == {"within_parts": 0, "across_parts": 0, "near_across_parts": 0}


def test_people_read_tables_and_a_verdict(check: Callable[..., Answer], folder: Path) -> None:
    answer = check(folder, "--layout", "ltcc", "--gender", folder / "gender.csv", "--masks", folder / "masks")
    assert answer.status == 0, answer.stdout + answer.stderr
    assert answer.stdout.splitlines()[-1].startswith("✓ sound")
    for words in ("Splits", "gallery", "Per identity", "Pixels", "gender file", "covers 100.0%", "64 PNG"):
        assert words in answer.stdout


def test_an_identity_in_train_and_test(check: Callable[..., Answer], folder: Path) -> None:
    person = files_of(folder, "train")[0].name[:3]
    moved = files_of(folder, "query")[0]
    moved.rename(moved.with_name(person + moved.name[3:]))
    answer = check(folder, "--layout", "ltcc")
    assert answer.status == 1
    assert "1 identity is both in train and in test" in answer.stdout
    assert answer.stdout.splitlines()[-1].strip() == person


def test_a_picture_in_train_and_test(check: Callable[..., Answer], folder: Path) -> None:
    ours, theirs = files_of(folder, "train")[5], files_of(folder, "query")[0]
    shutil.copy(ours, theirs)
    answer = check(folder, "--layout", "ltcc", "--json")
    assert answer.status == 1
    assert answer.finding("duplicate-across-splits")["examples"] == [f"train/{ours.name} = query/{theirs.name}"]


def test_a_changed_picture_in_train_and_test(check: Callable[..., Answer], folder: Path, s3_uri: str) -> None:
    ours, theirs = files_of(folder, "train")[5], files_of(folder, "test")[3]
    with Image.open(ours) as image:
        image.convert("RGB").resize((48, 96)).save(theirs.with_suffix(".jpg"), quality=60)
    theirs.unlink()
    ingest(folder, "ltcc", s3_uri, name="tiny")
    answer = check(s3_uri, "--json")
    assert answer.status == 1
    (example,) = answer.finding("near-duplicate-across-splits")["examples"]
    assert example.startswith(f"test/{theirs.stem}.jpg ~ train/{ours.name} (")
    assert len(answer.report["findings"]) == 1


def test_a_truncated_image(check: Callable[..., Answer], folder: Path) -> None:
    broken = files_of(folder, "train")[3]
    broken.write_bytes(broken.read_bytes()[:900])
    answer = check(folder, "--layout", "ltcc")
    assert answer.status == 1
    assert "1 of 64 images cannot be read" in answer.stdout
    assert f"train/{broken.name} (" in answer.stdout


def test_missing_images(check: Callable[..., Answer], folder: Path) -> None:
    answer = check(folder, "--layout", "ltcc", "--published", "ltcc", "--json")
    assert answer.status == 1
    examples = answer.finding("published-size")["examples"]
    assert examples[0] == "train: 32 images, published are 9,576 (9,544 missing)"
    assert answer.report["published"]["title"] == "LTCC"


def test_a_gender_file_of_80_percent(check: Callable[..., Answer], stored: str, folder: Path) -> None:
    with (folder / "gender.csv").open(newline="") as stream:
        header, *rows = csv.reader(stream)
    lacking = {files_of(folder, "train")[0].name[:3], files_of(folder, "train")[-1].name[:3]}
    with (folder / "gender.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *(row for row in rows if row[1].zfill(3) not in lacking)])
    answer = check(stored, "--gender", folder / "gender.csv", "--json")
    assert answer.status == 1
    finding = answer.finding("join-rate")
    assert "gender.csv covers 75.0% of the training images, less than 95%" in finding["message"]
    assert set(finding["examples"]) == lacking
    assert answer.report["side_files"]["gender"]["all"] == 0.875
    assert answer.report["side_files"]["masks"] == {"training": 1.0, "all": None}


def test_a_tampered_shard(check: Callable[..., Answer], stored: str) -> None:
    shard = read_manifest(locate(stored)).shards[0].path
    content = bytearray(read_bytes(locate(stored) / shard))
    place = content.index(b"IDAT") + 30
    content[place : place + 20] = bytes(20)
    write_bytes(locate(stored) / shard, bytes(content))
    answer = check(stored)
    assert answer.status == 1
    assert "1 shard is changed or gone" in answer.stdout
    assert shard in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{folder}",), ["no data set", "--layout", "ltcc", "generic"]),
        (("{folder}", "--layout", "lttc"), ["'lttc'", "ltcc"]),
        (("{folder}", "--layout", "ltcc", "--published", "lttc"), ["'lttc'", "ltcc", "none"]),
        (("{folder}", "--layout", "ltcc", "--gender", "g.csv"), ["g.csv", "does not exist"]),
        (("{stored}", "--layout", "ltcc"), ["ingested data set", "leave out --layout"]),
        (("{stored}/nothing", "--layout", "ltcc"), ["no data set", "give a path"]),
    ],
)
def test_wrong_use_is_one_line(
    check: Callable[..., Answer], folder: Path, stored: str, arguments: tuple[str, ...], words: list[str]
) -> None:
    answer = check(*(argument.format(folder=folder, stored=stored) for argument in arguments))
    assert (answer.status, answer.stdout) == (2, "")
    assert answer.stderr.count("\n") == 1
    for word in words:
        assert word in answer.stderr
