"""VC-Clothes: `{train,query,gallery}/PID-CAM-CLOTH-SEQ.jpg`, rendered people.

Wan et al., "When Person Re-identification Meets Changing Clothes", CVPR Workshops 2020 (arXiv:2003.04070). Counts
published there: 19,060 images of 512 identities, half of them for training, 4 cameras.
"""

from __future__ import annotations

from pathlib import Path

from rlq_ray.data.layouts.source import SourceImage, data_folder, find_images, folders_alike

FOLDERS = folders_alike(
    {"train": "train", "query": "query", "gallery": "gallery"},
    r"(?P<pid>\d+)-(?P<camera>\d+)-(?P<outfit>\d+)-\d+",
    "PID-CAM-CLOTH-SEQ.jpg",
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
        for image in find_images(data_folder(root, "VC-Clothes", FOLDERS), FOLDERS)
    ]
