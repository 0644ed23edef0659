"""Celeb-reID (Huang et al., 2019): `{train,query,gallery}/PID_INDEX_X.jpg`, collected from the web."""

from __future__ import annotations

import re
from pathlib import Path

from rlq_ray.data.layouts.source import SourceImage, data_folder, match_names

SPLIT_OF_FOLDER = {"train": "train", "query": "query", "gallery": "gallery"}

_NAME = re.compile(r"(?P<pid>\d+)_(?P<index>\d+)_\d+")


def read(root: Path) -> list[SourceImage]:
    """List the images; each has its own clothes, its camera is the first digit of INDEX as in the authors' code.

    Raises:
        DataError: a folder is missing or a file name does not follow the pattern.
    """
    base = data_folder(root, "Celeb-reID", tuple(SPLIT_OF_FOLDER))
    return [
        SourceImage(
            file=file,
            source=source,
            split=split,
            identity=name["pid"],
            clothes=f"{name['pid']}_{split}_{name['index']}",
            camera=int(name["index"][0]),
        )
        for file, source, split, name in match_names(base, SPLIT_OF_FOLDER, _NAME, "PID_INDEX_X.jpg")
    ]
