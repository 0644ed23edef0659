"""What is a finding, what is a note, and what the report says of a sound set."""

from __future__ import annotations

import json

from PIL import Image

from rlq_ray.data import SideFiles
from rlq_ray.data.check import (
    Report,
    Subject,
    catalogue_of_images,
    closest_copies,
    examine,
    files_jobs,
    inspect,
    join,
    join_side_files,
    search,
    searches,
)
from rlq_ray.data.layouts import read_layout


def report_on(folder, published="auto", layout="ltcc", side_files=None) -> Report:
    images = read_layout("ltcc", folder.root)
    joined = join_side_files(images, side_files or SideFiles())
    catalogue = catalogue_of_images(images)
    inspected = join([inspect(job) for job in files_jobs(images, joined.masks or [None] * len(images))])
    near = {pair: closest_copies([search(job)]) for pair, job in searches(catalogue, inspected)}
    subject = Subject("somewhere", "mini", layout, None, catalogue, joined, published)
    return examine(subject, inspected, near)


def codes(report: Report) -> tuple[list[str], list[str]]:
    return [finding.code for finding in report.findings], [note.code for note in report.notes]


def test_a_sound_folder_is_sound(shared_folder):
    report = report_on(shared_folder, side_files=shared_folder.side_files)
    assert report.sound
    assert codes(report) == ([], ["published-size", "query-without-match"])
    assert report.queries["cc"].with_match == report.queries["cc"].without_match == 3
    assert {split: counts.images for split, counts in report.splits.items()} == {"train": 36, "query": 6, "gallery": 6}
    assert report.gender == {"male": 22, "female": 26, "unknown": 0}
    assert (report.images.readable, report.images.formats, report.images.masks) == (48, {"png": 48}, 144)
    assert report.published is None
    assert Report.model_validate(json.loads(report.model_dump_json())) == report


def test_a_small_set_is_not_held_to_the_published_sizes_unless_asked(shared_folder):
    assert "48 images are not LTCC" in report_on(shared_folder).notes[0].message
    assert codes(report_on(shared_folder, published="none")) == ([], ["query-without-match"])
    assert codes(report_on(shared_folder, layout="generic")) == ([], ["query-without-match"])
    report = report_on(shared_folder, published="ltcc")
    assert codes(report) == (["published-size"], ["query-without-match"])
    assert not report.sound
    assert report.findings[0].examples[0] == "train: 36 images, published are 9,576 (9,540 missing)"
    assert report.published is not None
    assert report.published.images == {"train": 9576, "query": 493, "gallery": 7050}


def test_an_identity_in_train_and_test_is_a_finding(folder):
    base = folder.root / "LTCC_ReID"
    for file in sorted((base / "query").glob("006_*")):
        file.rename(base / "query" / file.name.replace("006_", "000_"))
    report = report_on(folder)
    assert codes(report)[0] == ["identity-overlap"]
    assert report.findings[0].examples == ("000",)
    notes = {note.code: note for note in report.notes}
    assert notes["query-without-gallery"].examples == ("000",)
    assert notes["gallery-without-query"].examples == ("006",)


def test_a_missing_split_is_a_note(folder):
    for file in (folder.root / "LTCC_ReID" / "query").iterdir():
        file.unlink()
    report = report_on(folder)
    assert codes(report) == ([], ["published-size", "missing-split"])
    assert report.queries["cc"].with_match == report.queries["cc"].without_match == 0


def test_queries_that_nothing_answers_are_a_finding(folder):
    base = folder.root / "LTCC_ReID"
    for file in sorted((base / "query").iterdir()):
        file.rename(file.with_name(f"{int(file.name[:3]) + 100}{file.name[3:]}"))
    report = report_on(folder)
    assert codes(report)[0] == ["no-query-match"]
    assert report.findings[0].count == 6


def test_one_outfit_and_one_colour_are_notes(folder):
    base = folder.root / "LTCC_ReID" / "train"
    for file in base.glob("003_2_*"):
        file.unlink()
    Image.new("RGB", (24, 48), (200, 0, 0)).save(next(iter(sorted(base.iterdir()))))
    report = report_on(folder)
    assert report.sound
    assert codes(report)[1][-2:] == ["one-colour", "single-outfit"]
    assert report.parts["train"].single_outfit_identities == 1
