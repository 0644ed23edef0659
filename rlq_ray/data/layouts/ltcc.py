"""LTCC (Qian et al., ACCV 2020): `{train,query,test}/PID_CLOTH_cCAM_FRAME.png`."""

from __future__ import annotations

import re
from pathlib import Path

from rlq_ray.data.layouts.source import SourceImage, bad_name, data_folder, list_images

SPLIT_OF_FOLDER = {"train": "train", "query": "query", "test": "gallery"}

_NAME = re.compile(r"(?P<pid>\d+)_(?P<outfit>\d+)_c(?P<camera>\d+)_\d+")


def read(root: Path) -> list[SourceImage]:
    """List the images; clothes are `PID_CLOTH`, cameras count from 0.

    Raises:
        DataError: a folder is missing or a file name does not follow the pattern.
    """
    base = data_folder(root, "LTCC_ReID", tuple(SPLIT_OF_FOLDER))
    images = []
    for folder, split in SPLIT_OF_FOLDER.items():
        for file in list_images(base / folder):
            match = _NAME.fullmatch(file.stem)
            if match is None:
                raise bad_name(file, "PID_CLOTH_cCAM_FRAME.png")
            identity = match["pid"]
            images.append(
                SourceImage(
                    file=file,
                    source=f"{folder}/{file.name}",
                    split=split,
                    identity=identity,
                    clothes=f"{identity}_{match['outfit']}",
                    camera=int(match["camera"]) - 1,
                )
            )
    return images
