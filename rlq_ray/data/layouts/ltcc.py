"""LTCC (Qian et al., ACCV 2020): `{train,query,test}/PID_CLOTH_cCAM_FRAME.png`."""

from __future__ import annotations

import re
from pathlib import Path

from rlq_ray.data.layouts.source import SourceImage, data_folder, match_names

SPLIT_OF_FOLDER = {"train": "train", "query": "query", "test": "gallery"}

_NAME = re.compile(r"(?P<pid>\d+)_(?P<outfit>\d+)_c(?P<camera>\d+)_\d+")


def read(root: Path) -> list[SourceImage]:
    """List the images; clothes are `PID_CLOTH`, cameras count from 0.

    Raises:
        DataError: a folder is missing or a file name does not follow the pattern.
    """
    base = data_folder(root, "LTCC_ReID", tuple(SPLIT_OF_FOLDER))
    return [
        SourceImage(
            file=file,
            source=source,
            split=split,
            identity=name["pid"],
            clothes=f"{name['pid']}_{name['outfit']}",
            camera=int(name["camera"]) - 1,
        )
        for file, source, split, name in match_names(base, SPLIT_OF_FOLDER, _NAME, "PID_CLOTH_cCAM_FRAME.png")
    ]
