"""LaST: `train/PID/PID_…_CLOTH.jpg`, `{val,test}/query/PID_….jpg`, `{val,test}/gallery/PID/PID_….jpg`, from films.

Shu et al., "Large-Scale Spatio-Temporal Person Re-identification: Algorithm and Benchmark", TCSVT 2022
(arXiv:2105.15076). Counts published there: training 71,248 images of 5,000 identities; validation 21,379 of 56; test
10,176 queries, gallery 125,353, 5,806 identities.

There are no cameras: every image is its own, so that none is ever dropped from a ranking. Clothes are known in
training alone. Elsewhere every image wears its own, which makes `cc` the published protocol (`general`) and leaves
`sc`, which cannot be asked of this data set, without a match; one name for all of an identity's clothes would instead
leave `cc` without. Query and gallery of `val` are one split: a validation takes each image as query against all others.
"""

from __future__ import annotations

from pathlib import Path

from rlq_ray.data.layouts.source import NamedImage, SourceImage, data_folder, find_images, folders_alike

FOLDERS = (
    *folders_alike(
        {"train": "train"}, r"\d+/(?P<pid>\d+)_(?:[^/]+_)?(?P<outfit>\d+)", "PID/PID_…_CLOTH.jpg (all are numbers)"
    ),
    *folders_alike(
        {"val/query": "val", "val/gallery": "val", "test/query": "query", "test/gallery": "gallery"},
        r"(?:\d+/)?(?P<pid>\d+)_[^/]+",
        "PID_….jpg or PID/PID_….jpg",
    ),
)


def read(root: Path) -> list[SourceImage]:
    """List the images; cameras number them in this order, clothes are `PID_CLOTH` in training, the stem elsewhere.

    The identity is that of the file name, whatever the folder is called.

    Raises:
        DataError: a folder is missing or a file name does not follow the pattern.
    """
    images = find_images(data_folder(root, "last", FOLDERS), FOLDERS)
    return [
        image.labelled(identity=image["pid"], clothes=_clothes(image), camera=number)
        for number, image in enumerate(images)
    ]


def _clothes(image: NamedImage) -> str:
    if image.split == "train":
        return f"{image['pid']}_{image['outfit']}"
    return image.source
