"""Celeb-reID: `{train,query,gallery}/PID_INDEX_X.jpg`, street photographs collected from the web.

Huang et al., "Celebrities-ReID: A Benchmark for Clothes Variation in Long-Term Person Re-Identification", IJCNN 2019.
Counts published there: training 20,208 images of 632 identities; 2,972 queries, gallery 11,006, 420 identities.
"""

from __future__ import annotations

from pathlib import Path

from rlq_ray.data.layouts.source import SourceImage, data_folder, find_images, folders_alike

FOLDERS = folders_alike(
    {"train": "train", "query": "query", "gallery": "gallery"},
    r"(?P<pid>\d+)_(?P<index>\d+)_\d+",
    "PID_INDEX_X.jpg",
)


def read(root: Path) -> list[SourceImage]:
    """List the images; each has its own clothes, its camera is the first digit of INDEX as in the authors' code.

    Raises:
        DataError: a folder is missing or a file name does not follow the pattern.
    """
    return [
        image.labelled(
            identity=image["pid"],
            clothes=f"{image['pid']}_{image.split}_{image['index']}",
            camera=int(image["index"][0]),
        )
        for image in find_images(data_folder(root, "Celeb-reID", FOLDERS), FOLDERS)
    ]
