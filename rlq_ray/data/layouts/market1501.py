"""Market-1501 (Zheng et al., ICCV 2015): `{bounding_box_train,query,bounding_box_test}/PID_cCsS_FRAME_NN.jpg`."""

from __future__ import annotations

import re
from pathlib import Path

from rlq_ray.data.layouts.source import SourceImage, data_folder, match_names

SPLIT_OF_FOLDER = {"bounding_box_train": "train", "query": "query", "bounding_box_test": "gallery"}
JUNK_IDENTITY = "-1"

_NAME = re.compile(r"(?P<pid>-1|\d+)_c(?P<camera>\d+)s\d+_\d+_\d+(\.jpg)?")


def read(root: Path) -> list[SourceImage]:
    """List the images; clothes are the identity, junk (−1) is left out, distractors (0) stay.

    Raises:
        DataError: a folder is missing or a file name does not follow the pattern.
    """
    base = data_folder(root, "Market-1501-v15.09.15", tuple(SPLIT_OF_FOLDER))
    return [
        SourceImage(
            file=file,
            source=source,
            split=split,
            identity=name["pid"],
            clothes=name["pid"],
            camera=int(name["camera"]) - 1,
        )
        for file, source, split, name in match_names(base, SPLIT_OF_FOLDER, _NAME, "PID_cCsS_FRAME_NN.jpg")
        if name["pid"] != JUNK_IDENTITY
    ]
