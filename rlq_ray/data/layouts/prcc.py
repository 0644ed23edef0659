"""PRCC: `rgb/train/PID/{A,B,C}_cropped_rgbNNN.jpg` and `rgb/test/{A,B,C}/PID/cropped_rgbNNN.jpg`.

Yang et al., "Person Re-identification by Contour Sketch under Moderate Clothing Change", TPAMI 2021
(arXiv:2002.02295). Counts published there: training 17,896 images of 150 identities; test of 71 identities: gallery
A 3,384, queries B 3,873 (the clothes of A) and C 3,543 (changed). Cameras A and B see a person in the same clothes.

The 5,002 images in `rgb/val` show the training identities again. A split `val` here holds identities that training
never sees, so they are left out, and validation identities are drawn from the training ones.
"""

from __future__ import annotations

from pathlib import Path

from rlq_ray.data.layouts.source import NamedImage, SourceImage, data_folder, find_images, folders_alike

CAMERAS = "ABC"

TRAIN = folders_alike(
    {"rgb/train": "train"}, r"(?P<pid>\d+)/(?P<camera>[ABC])_cropped_rgb\d+", "PID/{A,B,C}_cropped_rgbNNN.jpg"
)
TEST = folders_alike(
    {"rgb/test/A": "gallery", "rgb/test/B": "query", "rgb/test/C": "query"},
    r"(?P<pid>\d+)/cropped_rgb\d+",
    "PID/cropped_rgbNNN.jpg",
)


def read(root: Path) -> list[SourceImage]:
    """List the images but those of `rgb/val`; cameras A, B, C are 0, 1, 2, clothes are `PID` (A, B) and `PIDC` (C).

    So protocol `cc` ranks queries C and `sc` queries B, both against all of gallery A.

    Raises:
        DataError: a folder is missing or a file name does not follow the pattern.
    """
    base = data_folder(root, "prcc", (*TRAIN, *TEST))
    images = [_label(image, image["camera"]) for image in find_images(base, TRAIN)]
    for camera, folder in zip(CAMERAS, TEST, strict=True):
        images += [_label(image, camera) for image in find_images(base, (folder,))]
    return images


def _label(image: NamedImage, camera: str) -> SourceImage:
    changed = "C" if camera == "C" else ""
    return image.labelled(identity=image["pid"], clothes=image["pid"] + changed, camera=CAMERAS.index(camera))
