"""What is particular to one data set: its protocols, its lists, what it leaves out."""

from __future__ import annotations

import numpy as np
import pytest

from rlq_ray.data.layouts import read_layout
from rlq_ray.errors import DataError
from rlq_ray.evaluate.protocols import protocol_named, shared_labels
from rlq_ray.evaluate.scores import match_counts


def matches(images, protocol, queries=("query",), gallery=("gallery",)):
    """Count each query's matches, by source."""
    sides = [[image for image in images if image.split in splits] for splits in (queries, gallery)]
    columns = [
        tuple(np.array([getattr(image, name) for image in side]) for name in ("identity", "camera", "clothes"))
        for side in sides
    ]
    counts, _ = match_counts(*shared_labels(*columns), protocol_named(protocol))
    return {image.source: int(count) for image, count in zip(sides[0], counts, strict=True)}


def test_prcc_leaves_out_val_since_it_shows_training_identities(tmp_path, miniature_of):
    root = miniature_of["prcc"].write(tmp_path)
    (root / "rgb" / "val" / "108").mkdir(parents=True)
    (root / "rgb" / "val" / "108" / "A_cropped_rgb007.jpg").touch()
    images = read_layout("prcc", root)
    assert {image.split for image in images} == {"train", "query", "gallery"}
    assert not any("/val/" in image.source for image in images)


def test_prcc_cc_asks_camera_c_and_sc_asks_camera_b_of_gallery_a(tmp_path, miniature_of):
    images = read_layout("prcc", miniature_of["prcc"].write(tmp_path))
    same, changed = "rgb/test/B/002/cropped_rgb001.jpg", "rgb/test/C/002/cropped_rgb001.jpg"
    assert matches(images, "cc") == {same: 0, changed: 1}
    assert matches(images, "sc") == {same: 1, changed: 0}
    assert matches(images, "general") == {same: 1, changed: 1}


def test_prcc_refuses_test_names_among_training_ones(tmp_path, miniature_of):
    root = miniature_of["prcc"].write(tmp_path)
    (root / "rgb" / "train" / "108" / "cropped_rgb001.jpg").touch()
    with pytest.raises(DataError, match=r"'108/cropped_rgb001.jpg' in '.*rgb/train' is not named PID/{A,B,C}_cropped"):
        read_layout("prcc", root)


@pytest.mark.parametrize("protocol", ["general", "cc"])
def test_last_drops_no_image_of_a_ranking(tmp_path, miniature_of, protocol):
    images = read_layout("last", miniature_of["last"].write(tmp_path))
    assert matches(images, protocol) == {"test/query/000950_000_00001_0001_00.jpg": 1}
    assert set(matches(images, protocol, ("val",), ("val",)).values()) == {1}
    assert len({image.camera for image in images}) == len(images)


def test_last_cannot_be_asked_for_the_same_clothes(tmp_path, miniature_of):
    images = read_layout("last", miniature_of["last"].write(tmp_path))
    assert set(matches(images, "sc").values()) == {0}


def test_last_reads_the_identity_from_the_name_of_the_file(tmp_path, miniature_of):
    root = miniature_of["last"].write(tmp_path)
    (root / "train" / "000004").rename(root / "train" / "4")
    images = read_layout("last", root)
    assert sorted(image.identity for image in images if image.split == "train") == ["000002", "000004"]


def test_deepchange_matches_in_the_same_camera_but_not_in_the_same_tracklet(tmp_path, miniature_of):
    root = miniature_of["deepchange"].write(tmp_path)
    (query,) = matches(read_layout("deepchange", root), "general").items()
    assert query == ("test-set-query/p0020_c10_20200813_120018_000160_bbox.jpg", 1)
    tracklets = root / "test-set-gallery-bbox.txt"
    tracklets.write_text(tracklets.read_text().replace(",42", ",40"))
    assert set(matches(read_layout("deepchange", root), "general").values()) == {0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read .*train-set-bbox.txt .*: put the published list there"),
        ("{0},17\n", "train-set-bbox.txt lacks '{1}': add the line FILE,TRACKLET, or move the image away"),
        ("{0},17\n{1},18\ngone.jpg,4\n", "train-set' lacks 'gone.jpg', which .*bbox.txt lists: add the image, or rem"),
        ("{0},17\n{1}\n", "train-set-bbox.txt line 2: '{1}' is not FILE,TRACKLET"),
        ("{0},17\n{1},c1\n", "line 2: '{1},c1' is not FILE,TRACKLET; tracklets are whole numbers"),
        ("{0},17\n\n{0},18\n", "line 3: '{0}' has two tracklets; keep one"),
    ],
)
def test_deepchange_refuses_a_list_that_does_not_fit_the_folder(tmp_path, miniature_of, text, message):
    deepchange = miniature_of["deepchange"]
    root = deepchange.write(tmp_path)
    names = [source.rpartition("/")[2] for source in deepchange.train_sources]
    side_file = root / "train-set-bbox.txt"
    side_file.unlink() if text is None else side_file.write_text(text.format(*names))
    with pytest.raises(DataError, match=message.format(*names)):
        read_layout("deepchange", root)


def test_deepchange_lists_may_have_spaces_and_other_line_ends(tmp_path, miniature_of):
    root = miniature_of["deepchange"].write(tmp_path)
    side_file = root / "train-set-bbox.txt"
    side_file.write_bytes(b"\xef\xbb\xbf" + side_file.read_bytes().replace(b",", b" , ").replace(b"\n", b"\r\n\r\n"))
    assert [image.camera for image in read_layout("deepchange", root)][:2] == [17, 18]


def test_market_drops_junk_and_keeps_distractors(tmp_path, miniature_of):
    root = miniature_of["market1501"].write(tmp_path)
    for name in ("-1_c1s1_000401_03.jpg", "0000_c2s1_000451_04.jpg.jpg"):
        (root / "bounding_box_test" / name).touch()
    gallery = [image for image in read_layout("market1501", root) if image.split == "gallery"]
    assert [image.identity for image in gallery] == ["0000", "0000", "0003"]
    assert matches(gallery + read_layout("market1501", root)[:3], "general") == {"query/0003_c6s1_000001_00.jpg": 1}


def test_celeb_cameras_are_the_first_digit_of_the_index(tmp_path, miniature_of):
    images = read_layout("celeb", miniature_of["celeb"].write(tmp_path))
    assert {image.source: image.camera for image in images}["train/12_301_0.jpg"] == 3
    assert matches(images, "general") == {"query/640_9_0.jpg": 1}
