"""LTCC: `{train,query,test}/PID_CLOTH_cCAM_FRAME.png`.

Qian et al., "Long-Term Cloth-Changing Person Re-identification", ACCV 2020 (arXiv:2005.12633). Counts published
there: training 9,576 images of 77 identities in 256 outfits, 12 cameras; 493 queries, gallery 7,050, 75 identities.
"""

from __future__ import annotations

from pathlib import Path

from rlq_ray.data.layouts.source import SourceImage, data_folder, find_images, folders_alike

FOLDERS = folders_alike(
    {"train": "train", "query": "query", "test": "gallery"},
    r"(?P<pid>\d+)_(?P<outfit>\d+)_c(?P<camera>\d+)_\d+",
    "PID_CLOTH_cCAM_FRAME.png",
)


def read(root: Path) -> list[SourceImage]:
    """List the images; clothes are `PID_CLOTH`, cameras count from 0.

    Raises:
        DataError: a folder is missing or a file name does not follow the pattern.
    """
    return [
        image.labelled(
            identity=image["pid"],
            clothes=f"{image['pid']}_{image['outfit']}",
            camera=int(image["camera"]) - 1,
        )
        for image in find_images(data_folder(root, "LTCC_ReID", FOLDERS), FOLDERS)
    ]
