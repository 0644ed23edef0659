"""Market-1501: `{bounding_box_train,query,bounding_box_test}/PID_cCsS_FRAME_NN.jpg`.

Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015. Counts published there, without junk:
training 12,936 images of 751 identities; 3,368 queries of 750 identities, gallery 15,913; 6 cameras.
"""

from __future__ import annotations

from pathlib import Path

from rlq_ray.data.layouts.source import SourceImage, data_folder, find_images, folders_alike

JUNK_IDENTITY = "-1"

FOLDERS = folders_alike(
    {"bounding_box_train": "train", "query": "query", "bounding_box_test": "gallery"},
    r"(?P<pid>-1|\d+)_c(?P<camera>\d+)s\d+_\d+_\d+(\.jpg)?",
    "PID_cCsS_FRAME_NN.jpg",
)


def read(root: Path) -> list[SourceImage]:
    """List the images; clothes are the identity, junk (−1) is left out, distractors (0) stay.

    Raises:
        DataError: a folder is missing or a file name does not follow the pattern.
    """
    return [
        image.labelled(identity=image["pid"], clothes=image["pid"], camera=int(image["camera"]) - 1)
        for image in find_images(data_folder(root, "Market-1501-v15.09.15", FOLDERS), FOLDERS)
        if image["pid"] != JUNK_IDENTITY
    ]
