"""Side files are joined as far as they go, and what they lack is a finding."""

from __future__ import annotations

import csv
import json

import pytest

from rlq_ray.data import SideFiles
from rlq_ray.data.check import Joined, SideFileReport, join_side_files, with_rates_at_ingest
from rlq_ray.data.layouts import read_layout
from rlq_ray.data.manifest import JoinRates


@pytest.fixture
def images(folder):
    return read_layout("ltcc", folder.root)


def test_whole_side_files_cover_everything(folder, images, tmp_path):
    (tmp_path / "poses.csv").write_text(
        "\n".join(("Category,Image,R_LA_5", *(f"x,{image.file.stem},{row % 4}.0" for row, image in enumerate(images))))
    )
    side = SideFiles(gender=folder.gender, keypoints=folder.keypoints, masks=folder.masks, poses=tmp_path / "poses.csv")
    joined = join_side_files(images, SideFiles(**{**vars(side), "pose_k": 5}))
    assert {name: (report.training, report.all) for name, report in joined.reports.items()} == dict.fromkeys(
        ("gender", "poses", "keypoints", "masks"), (1.0, 1.0)
    )
    assert joined.findings == ()
    assert joined.gender is not None
    assert joined.gender.tolist() == [int(image.identity) % 2 for image in images]
    assert joined.pose is not None
    assert joined.pose.tolist() == [row % 4 for row in range(len(images))]
    assert joined.masks is not None
    assert all(joined.masks)


def test_nothing_is_said_of_side_files_that_are_not_given(images):
    joined = join_side_files(images, SideFiles())
    assert (joined.reports, joined.findings, joined.gender, joined.pose, joined.masks) == ({}, (), None, None, None)


def test_a_gender_file_that_lacks_people_is_a_finding(folder, images):
    with folder.gender.open(newline="") as stream:
        header, *rows = csv.reader(stream)
    with folder.gender.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows[1:]])
    joined = join_side_files(images, SideFiles(gender=folder.gender))
    (finding,) = joined.findings
    assert (finding.code, finding.count, finding.examples) == ("join-rate", 1, ("000",))
    assert "covers 83.3% of the training images, less than 95%" in finding.message
    assert joined.reports["gender"].training == pytest.approx(30 / 36)
    assert joined.reports["gender"].all == pytest.approx(42 / 48)


def test_people_of_the_test_are_not_needed(folder, images):
    keypoints = [person for person in json.loads(folder.keypoints.read_text()) if int(person["image_id"][:3]) < 6]
    folder.keypoints.write_text(json.dumps(keypoints))
    joined = join_side_files(images, SideFiles(keypoints=folder.keypoints))
    assert joined.findings == ()
    assert (joined.reports["keypoints"].training, joined.reports["keypoints"].all) == (1.0, 36 / 48)


def test_a_side_file_that_cannot_be_used_is_a_finding_and_the_others_go_on(folder, images):
    folder.gender.write_text("Category,ID,Sex\n")
    joined = join_side_files(images, SideFiles(gender=folder.gender, masks=folder.masks))
    (finding,) = joined.findings
    assert finding.code == "side-file"
    assert "it needs Category,ID,Gender" in finding.message
    assert list(joined.reports) == ["masks"]


def test_a_data_set_tells_the_rates_of_its_ingest():
    joined = with_rates_at_ingest(Joined(), JoinRates(gender=0.8, masks=1.0))
    assert {name: report.training for name, report in joined.reports.items()} == {"gender": 0.8, "masks": 1.0}
    (finding,) = joined.findings
    assert finding.code == "join-rate"
    assert "80.0%" in finding.message


def test_a_side_file_that_is_given_replaces_the_one_of_the_ingest():
    given = Joined(reports={"keypoints": SideFileReport(training=1.0, all=0.9)})
    joined = with_rates_at_ingest(given, JoinRates(gender=1.0, pose=0.5))
    assert {name: report.training for name, report in joined.reports.items()} == {"keypoints": 1.0, "gender": 1.0}
    assert joined.findings == ()
