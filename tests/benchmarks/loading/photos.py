"""Photo-like JPEGs, made once from a seed: people of several outfits before several cameras.

Their spectrum falls like that of photographs, so that they compress (12 KB) and decode as those do; white noise would
be several times as slow to decode, flat pictures faster.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from loading.job import HEIGHT, WIDTH

PER_IDENTITY = 20
CAMERAS = 6
QUALITY = 78
SLOPE = 1.35
"""Amplitudes fall with frequency to this power, as in photographs that were scaled up to the canvas."""
_FIELDS = 24
TABLE = "photos.csv"
HASHES = "pixels.json"


def pixel_hash(pixels_HWC: NDArray[np.uint8]) -> str:
    """Name an image by its pixels."""
    return hashlib.blake2b(np.ascontiguousarray(pixels_HWC).data, digest_size=12).hexdigest()


def make_photos(folder: Path, images: int, seed: int = 0) -> None:
    """Fill a folder with JPEGs, their table (layout `generic`) and the hashes of their pixels as PIL decodes them.

    A folder that is complete is left as it is.
    """
    if (folder / HASHES).exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    rng = np.random.default_rng(seed)
    fields = np.stack([_field(rng) for _ in range(_FIELDS)])
    rows, hashes = [], []
    for number in range(images):
        identity, clothes, camera = _labels(number)
        file = folder / f"{identity:04}" / f"{identity:04}_{clothes}_c{camera}_{number:06}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        encoded = _encode(_compose(fields, identity, clothes, camera, np.random.default_rng([seed, number])))
        file.write_bytes(encoded)
        hashes.append(pixel_hash(np.asarray(Image.open(io.BytesIO(encoded)))))
        rows.append((file.relative_to(folder).as_posix(), "train", identity, camera, clothes))
    if len(set(hashes)) != images:
        raise SystemExit(f"{images - len(set(hashes))} of {images} photos look alike: change the seed")
    _write_table(folder / TABLE, rows)
    (folder / HASHES).write_text(json.dumps(hashes))


def repeat_photos(folder: Path, times: int, to: Path) -> None:
    """Make a folder in which every photo appears `times` times, each time as another identity, by hard links."""
    if (to / TABLE).exists():
        return
    shutil.rmtree(to, ignore_errors=True)
    rows = []
    for row in read_table(folder):
        for copy in range(times):
            identity = f"{copy}{int(row['pid']):04}"
            name = Path(identity) / f"{copy}_{Path(row['path']).name}"
            (to / name.parent).mkdir(parents=True, exist_ok=True)
            (to / name).hardlink_to(folder / row["path"])
            rows.append((name.as_posix(), row["split"], identity, row["camera"], row["clothes"]))
    _write_table(to / TABLE, rows)


def read_table(folder: Path) -> Iterator[dict[str, str]]:
    """Read a folder's table."""
    with (folder / TABLE).open(newline="") as stream:
        yield from csv.DictReader(stream)


def _write_table(path: Path, rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "split", "pid", "camera", "clothes"))
        writer.writerows(rows)


def _labels(number: int) -> tuple[int, int, int]:
    """Give the identity, its outfit (two or three of them) and the camera of a photo."""
    identity = number // PER_IDENTITY
    return identity, number % (2 + identity % 2), number // 3 % CAMERAS


def _field(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw an endless texture (H, W, 3) in [−1, 1], its colours mostly alike."""
    vertical, horizontal = np.meshgrid(np.fft.fftfreq(HEIGHT), np.fft.rfftfreq(WIDTH), indexing="ij")
    radius = np.hypot(vertical, horizontal)
    radius[0, 0] = np.inf
    spectrum_3HW = np.fft.rfft2(rng.normal(size=(3, HEIGHT, WIDTH))) / radius**SLOPE
    field_3HW = np.fft.irfft2(spectrum_3HW, s=(HEIGHT, WIDTH))
    field_3HW = 0.8 * field_3HW[:1] + 0.2 * field_3HW
    return np.clip(field_3HW / (3 * field_3HW.std()), -1, 1).transpose(1, 2, 0).astype(np.float32)


def _compose(
    fields: NDArray[np.float32], identity: int, clothes: int, camera: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Set a person (head, top, trousers) before a camera's background."""
    picture = 110 + 90 * _shifted(fields[camera], rng)
    outfit = np.random.default_rng([identity, clothes])
    middle, sway = WIDTH / 2, rng.uniform(-12, 12)
    for top, bottom, half_width in ((20, 80, 22), (80, 220, 48), (220, 375, 38)):
        y, x = np.ogrid[top:bottom, :WIDTH]
        edge = half_width * (1 - 0.15 * np.cos(y / 17 + rng.uniform(0, 6)))
        part_HW1 = (np.abs(x - middle - sway) < edge)[..., None]
        texture = fields[outfit.integers(_FIELDS)]
        cloth = outfit.uniform(40, 210, size=3) + outfit.uniform(20, 60) * _shifted(texture, rng)[top:bottom]
        picture[top:bottom] = np.where(part_HW1, cloth, picture[top:bottom])
    return np.clip(picture * rng.uniform(0.8, 1.15), 0, 255).astype(np.uint8)


def _shifted(field: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    return np.roll(field, (int(rng.integers(HEIGHT)), int(rng.integers(WIDTH))), axis=(0, 1))


def _encode(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()
