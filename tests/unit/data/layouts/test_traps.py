"""What every layout that reads file names must survive."""

from __future__ import annotations

import os

import pytest

from rlq_ray.data import ingest
from rlq_ray.data.layouts import LAYOUTS, read_layout
from rlq_ray.data.layouts.source import list_images
from rlq_ray.errors import DataError, UsageError


def labels(images):
    return [(i.source, i.split, i.identity, i.clothes, i.camera) for i in images]


def expected(miniature, sources=None):
    return [
        ((sources or {}).get(source, source), named.split, named.identity, named.clothes, named.camera)
        for source, named in miniature.files.items()
    ]


def test_unknown_layout_and_missing_root_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no layout 'ltc': choose one of celeb, deepchange, generic, last, ltcc, mark"):
        read_layout("ltc", tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        read_layout("ltcc", tmp_path / "nowhere")


def test_every_layout_has_a_miniature(miniature_of):
    assert set(miniature_of) == set(LAYOUTS) - {"generic"}


@pytest.mark.parametrize("parent", ["re_cc", "012_3_c9_000001", "p0009_c01_20200101_000000_000001_bbox/train"])
def test_labels_come_from_the_name_below_any_parent(tmp_path, miniature, parent):
    root = miniature.write(tmp_path / parent)
    for given in (root, root.parent):
        images = read_layout(miniature.layout, given)
        assert labels(images) == expected(miniature)
        assert all(image.file == root / image.source for image in images)


def test_the_order_is_that_of_names_not_of_the_disk(tmp_path, miniature, monkeypatch):
    miniature.write(tmp_path)
    in_order = labels(read_layout(miniature.layout, tmp_path))
    walk = os.walk

    def walk_backwards(top, **options):
        for parent, folders, files in walk(top, **options):
            folders.sort(reverse=True)
            yield parent, folders, sorted(files, reverse=True)

    monkeypatch.setattr(os, "walk", walk_backwards)
    assert labels(read_layout(miniature.layout, tmp_path)) == in_order


def test_a_gallery_identity_that_no_query_has_stays_as_a_distractor(tmp_path, miniature):
    images = read_layout(miniature.layout, miniature.write(tmp_path))
    identities = {split: {i.identity for i in images if i.split == split} for split in ("query", "gallery")}
    assert identities["gallery"] - identities["query"]
    assert identities["query"] < identities["gallery"]


def test_hidden_and_other_files_are_passed_over(tmp_path, miniature):
    root = miniature.write(tmp_path)
    first = root / miniature.first_folder
    for name in (".000_1_c1_000001.png", "._copy.jpg", "Thumbs.db", "list.txt", "__MACOSX/a.jpg", ".check/b.png"):
        (first / name).parent.mkdir(exist_ok=True)
        (first / name).write_bytes(b"")
    assert labels(read_layout(miniature.layout, root)) == expected(miniature)


def test_an_upper_case_suffix_is_an_image_too(tmp_path, miniature):
    source = miniature.train_sources[0]
    renamed = {source: source[: source.rindex(".")] + source[source.rindex(".") :].upper()}
    root = miniature.write(tmp_path, renamed)
    assert labels(read_layout(miniature.layout, root)) == expected(miniature, renamed)


@pytest.mark.parametrize("name", ["holiday.jpg", "deeper/still/holiday.jpg"])
def test_a_misnamed_image_is_named_with_the_pattern_and_the_mend(tmp_path, miniature, name):
    root = miniature.write(tmp_path)
    file = root / miniature.first_folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    with pytest.raises(DataError) as refusal:
        read_layout(miniature.layout, root)
    text = str(refusal.value)
    assert f"'{name}' in '{root / miniature.first_folder}' is not named {miniature.shape}" in text
    assert "rename it, move it away, or choose another layout" in text
    assert "\n" not in text


def test_missing_folders_are_named_with_the_published_one(tmp_path, miniature):
    (tmp_path / miniature.first_folder).mkdir(parents=True)
    with pytest.raises(DataError, match=f"has no folders .*published as {miniature.folder}"):
        read_layout(miniature.layout, tmp_path)


def test_an_empty_split_is_no_error_but_an_empty_data_set_is(tmp_path, miniature):
    root = miniature.write(tmp_path)
    for source, named in miniature.files.items():
        if named.split == "query":
            (root / source).unlink()
    for text in root.glob("*query-bbox.txt"):
        if text.name.startswith("test"):
            text.write_text("")
    left = [image.source for image in read_layout(miniature.layout, root)]
    assert left == [source for source, named in miniature.files.items() if named.split != "query"]
    for file in [file for file in root.rglob("*") if file.is_file()]:
        file.unlink() if file.suffix != ".txt" else file.write_text("")
    with pytest.raises(DataError, match=f"holds no images of layout '{miniature.layout}'"):
        read_layout(miniature.layout, root)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 no picture"])
def test_a_broken_image_is_named_when_it_is_ingested(tmp_path, miniature, content):
    root = miniature.write(tmp_path)
    file = root / miniature.train_sources[0]
    file.write_bytes(content)
    with pytest.raises(DataError, match=rf"cannot decode .*{file.name} .*: replace or remove the file"):
        ingest(root, miniature.layout, tmp_path / "out", name="mini")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_folder_that_cannot_be_listed_is_no_empty_one(tmp_path):
    with pytest.raises(DataError, match=r"cannot list '.*gone' \(No such file or directory\): check its permissions"):
        list_images(tmp_path / "gone")


def test_a_linked_folder_is_followed(tmp_path, miniature):
    root = miniature.write(tmp_path)
    folder = root / miniature.first_folder
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    for inside in sorted((tmp_path / "elsewhere").iterdir()):
        if inside.is_dir():
            inside.rename(tmp_path / f"far_{inside.name}")
            inside.symlink_to(tmp_path / f"far_{inside.name}")
    assert labels(read_layout(miniature.layout, root)) == expected(miniature)
