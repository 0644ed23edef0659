"""DeepChange: five folders of `pPID_cCAM_DATE_TIME_FRAME_bbox.jpg`, each with a list `FOLDER-bbox.txt` of tracklets.

Xu & Zhu, "DeepChange: A Long-Term Person Re-Identification Benchmark with Clothes Change", ICCV 2023
(arXiv:2105.14685). Counts published there: training 75,083 images of 450 identities; validation 4,976 queries and
17,865; test 17,527 queries, gallery 62,956.

A match in the query's own camera counts here as long as it is another tracklet, so the tracklet stands for the camera.
Query and gallery of the validation are one split: a validation takes each image as query against all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rlq_ray.data.layouts.source import ImageFolder, SourceImage, data_folder, find_images, folders_alike
from rlq_ray.errors import DataError

FOLDERS = folders_alike(
    {
        "train-set": "train",
        "val-set-query": "val",
        "val-set-gallery": "val",
        "test-set-query": "query",
        "test-set-gallery": "gallery",
    },
    r"(?P<pid>p\d+)_c\d+_(?P<date>\d+)_\d+_\d+_bbox",
    "pPID_cCAM_DATE_TIME_FRAME_bbox.jpg",
)


def read(root: Path) -> list[SourceImage]:
    """List the images; identities keep their `p`, cameras are tracklet numbers, clothes are `PID_DATE`.

    Raises:
        DataError: a folder or list is missing, a file name does not follow the pattern, or a folder and its list do not
            name the same images.
    """
    base = data_folder(root, "DeepChangeDataset", FOLDERS)
    return [image for folder in FOLDERS for image in _read_folder(base, folder)]


def _read_folder(base: Path, folder: ImageFolder) -> Iterator[SourceImage]:
    side_file = base / f"{folder.path}-bbox.txt"
    tracklets = _read_tracklets(side_file)
    for image in find_images(base, (folder,)):
        tracklet = tracklets.pop(image.file.name, None)
        if tracklet is None:
            raise DataError(
                f"{side_file} lacks '{image.file.name}': add the line FILE,TRACKLET, or move the image away"
            )
        yield image.labelled(identity=image["pid"], clothes=f"{image['pid']}_{image['date']}", camera=tracklet)
    if tracklets:
        raise DataError(
            f"'{base / folder.path}' lacks '{next(iter(tracklets))}', which {side_file} lists: add the image, or "
            "remove the line"
        )


def _read_tracklets(side_file: Path) -> dict[str, int]:
    try:
        lines = side_file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"cannot read {side_file} ({error.strerror}): put the published list there") from error
    tracklets: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, comma, tracklet = (part.strip() for part in line.partition(","))
        if not comma or not tracklet.isdecimal():
            raise DataError(f"{side_file} line {number}: '{line}' is not FILE,TRACKLET; tracklets are whole numbers")
        if tracklets.setdefault(name, int(tracklet)) != int(tracklet):
            raise DataError(f"{side_file} line {number}: '{name}' has two tracklets; keep one")
    return tracklets
