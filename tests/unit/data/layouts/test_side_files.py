"""Side files named as the authors name them join every layout completely, and incomplete ones are refused."""

from __future__ import annotations

import csv
import json
from pathlib import PurePosixPath

import pytest
from PIL import Image

from rlq_ray.data import SideFiles, ingest
from rlq_ray.data.attributes import find_masks, join_genders, lookup, require_join, side_keys
from rlq_ray.data.layouts import read_layout
from rlq_ray.data.poses import read_cluster_csv, read_keypoints
from rlq_ray.errors import DataError

VARIANTS = ("R_LA", "R_LAC", "R_A", "N_LA", "N_LAC", "N_A")
COLUMNS = [f"{variant}_{k}" for k in range(5, 45, 5) for variant in VARIANTS]


def cluster_of(column: str, row: int) -> int:
    return (row * 7 + COLUMNS.index(column)) % (int(column.rpartition("_")[2]) + 1)


def write_clusters(file, miniature, sources):
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["Category", "Image", *COLUMNS])
        for row, source in enumerate(miniature.files):
            if source in sources:
                values = [f"{cluster_of(column, row):.1f}" for column in COLUMNS]
                writer.writerow([PurePosixPath(source).parts[0], miniature.side_name(source), *values])
    return file


def write_genders(file, miniature, without=()):
    """IDs have lost their leading zeros; DeepChange's keep theirs and the `p`."""
    lines = ["Category,ID,Gender"]
    for identity in dict.fromkeys(named.identity for named in miniature.files.values()):
        if identity not in without:
            lines.append(f"train,{identity if identity[0] == 'p' else int(identity)},{int(identity.strip('p')) % 2}")
    file.write_text("\n".join(lines))
    return file


def write_keypoints(file, miniature, sources):
    """Two people an image, the second with the better score: its row."""
    people = [
        {"image_id": f"{source.removeprefix('rgb/')}", "score": score, "keypoints": [float(row * score)] * 51}
        for row, source in enumerate(miniature.files)
        if source in sources
        for score in (1.0, 2.0)
    ]
    file.write_text(json.dumps(people))
    return file


def write_masks(folder, miniature, sources, faulty):
    (folder / "train").mkdir(parents=True)
    for source in sources:
        for part in ("shirt", "pant", "clothes", "full_pant", "sil"):
            stem = miniature.side_name(source).rpartition("/")[2] if miniature.layout != "prcc" else None
            name = stem or miniature.side_name(source).replace("/", "_")
            Image.new("L", (6, 12), 255).save(folder / "train" / f"{name}_{part}.png")
    (folder / "Shirt_faulty.csv").write_text("\n".join(faulty[:1]) + "\n")
    (folder / "Pant_faulty.csv").write_text("\n".join(faulty[1:]) + "\n")
    return folder


@pytest.fixture
def images(tmp_path, miniature):
    return read_layout(miniature.layout, miniature.write(tmp_path / "re_cc"))


def test_lost_zeros_and_letters_do_not_part_genders_from_identities(tmp_path, miniature, images):
    genders = join_genders(images, write_genders(tmp_path / "gender.csv", miniature))
    assert genders == [int(image.identity.strip("p")) % 2 for image in images]


def test_every_column_of_the_cluster_csv_joins_every_image(tmp_path, miniature, images):
    file = write_clusters(tmp_path / "poses.csv", miniature, set(miniature.files))
    assert len(COLUMNS) == 48
    for column in COLUMNS:
        variant, _, k = column.rpartition("_")
        table = read_cluster_csv(file, variant=variant, k=int(k))
        joined = [lookup(keys, table) for keys in side_keys(images)]
        assert joined == [cluster_of(column, row) for row in range(len(images))]


def test_keypoints_of_the_best_person_join_by_the_path(tmp_path, miniature, images):
    table = read_keypoints(write_keypoints(tmp_path / "keypoints.json", miniature, set(miniature.files)))
    joined = [lookup(keys, table) for keys in side_keys(images)]
    found = [None if points is None else points.tolist() for points in joined]
    assert found == [[float(2 * row)] * 51 for row in range(len(images))]


def test_masks_join_and_the_lists_of_faulty_ones_add_up(tmp_path, miniature, images):
    trained = miniature.train_sources
    faulty = [miniature.side_name(trained[0]), miniature.side_name(trained[1])]
    masks = find_masks(images, write_masks(tmp_path / "masks", miniature, trained, faulty))
    found = {image.source: mask for image, mask in zip(images, masks, strict=True) if mask is not None}
    assert set(found) == set(trained)
    for source, mask in found.items():
        assert None not in (mask.shirt, mask.trousers, mask.clothes)
        assert mask.shirt.name == f"{miniature.side_name(source)}_shirt.png"
        assert mask.faulty == (source in trained[:2])


def test_all_side_files_at_once(tmp_path, miniature):
    root = miniature.write(tmp_path / "re_cc")
    side = SideFiles(
        gender=write_genders(tmp_path / "gender.csv", miniature),
        poses=write_clusters(tmp_path / "poses.csv", miniature, set(miniature.files)),
        keypoints=write_keypoints(tmp_path / "keypoints.json", miniature, set(miniature.files)),
        masks=write_masks(tmp_path / "masks", miniature, miniature.train_sources, []),
        pose_variant="N_LAC",
        pose_k=40,
    )
    manifest = ingest(root, miniature.layout, tmp_path / "out", name="mini", side_files=side)
    assert (manifest.join_rates.gender, manifest.join_rates.pose, manifest.join_rates.masks) == (1.0, 1.0, 1.0)
    assert manifest.pose is not None
    assert (manifest.pose.variant, manifest.pose.k) == ("N_LAC", 40)
    assert {split: counts.images for split, counts in manifest.splits.items()} == {
        split: sum(named.split == split for named in miniature.files.values())
        for split in {named.split for named in miniature.files.values()}
    }


@pytest.mark.parametrize("kind", ["gender", "poses", "keypoints", "masks"])
def test_a_side_file_that_lacks_a_training_image_is_refused_unless_partial(tmp_path, miniature, images, kind):
    lacking = next(image for image in images if image.source == miniature.train_sources[0])
    kept = [source for source, named in miniature.files.items() if source != lacking.source and named.split == "train"]
    if kind == "gender":
        file = write_genders(tmp_path / "g.csv", miniature, without={lacking.identity})
        found = [gender is not None for gender in join_genders(images, file)]
    elif kind == "masks":
        file = write_masks(tmp_path / "masks", miniature, kept, [])
        found = [mask is not None for mask in find_masks(images, file)]
    else:
        if kind == "poses":
            file = write_clusters(tmp_path / "p.csv", miniature, kept)
            table = read_cluster_csv(file, variant="N_A", k=5)
        else:
            file = write_keypoints(tmp_path / "k.json", miniature, kept)
            table = read_keypoints(file)
        found = [lookup(keys, table) is not None for keys in side_keys(images)]
    with pytest.raises(DataError, match=rf"covers \d+\.\d% of the training images, and lacks '{lacking.source}'"):
        require_join(file, images, found, partial=False)
    assert 0 <= require_join(file, images, found, partial=True) < 1


def test_one_name_in_two_splits_joins_by_its_category(tmp_path):
    for source in ("train/1_1_0.jpg", "query/1_1_0.jpg", "gallery/1_2_0.jpg"):
        (tmp_path / "c" / source).parent.mkdir(parents=True)
        (tmp_path / "c" / source).touch()
    images = read_layout("celeb", tmp_path / "c")
    poses = tmp_path / "poses.csv"
    poses.write_text("Category,Image,N_A_5\ntrain,1_1_0,4.0\nquery,1_1_0,2.0\ngallery,1_2_0,0.0\n")
    table = read_cluster_csv(poses, variant="N_A", k=5)
    assert [lookup(keys, table) for keys in side_keys(images)] == [4, 2, 0]
    write = tmp_path / "masks" / "train"
    write.mkdir(parents=True)
    (write / "1_1_0_shirt.png").touch()
    (tmp_path / "masks" / "faulty.csv").write_text("1_1_0\n")
    train, query, _ = find_masks(images, tmp_path / "masks")
    assert train is not None
    assert train.faulty
    assert query is None


def test_names_that_several_images_share_join_none_and_the_error_says_so(tmp_path, miniature_of):
    prcc = miniature_of["prcc"]
    images = read_layout("prcc", prcc.write(tmp_path))
    file = tmp_path / "keypoints.json"
    names = sorted({PurePosixPath(source).name for source in prcc.files})
    file.write_text(json.dumps([{"image_id": name, "score": 1.0, "keypoints": [1.0] * 51} for name in names]))
    table = read_keypoints(file)
    found = [lookup(keys, table) is not None for keys in side_keys(images)]
    assert found == [False, False, True, True, False, False, False, False]
    with pytest.raises(DataError, match=r"covers 50.0% .*complete it, by names that no two images share, or allow"):
        require_join(file, images, found, partial=False)
