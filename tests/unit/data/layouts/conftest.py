"""Every layout in miniature: files with the labels they carry, and what the authors' side files call them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest
from PIL import Image


@dataclass(frozen=True)
class Named:
    """What a file is: (split, identity, clothes, camera), and its name in a cluster CSV (the stem if empty)."""

    split: str
    identity: str
    clothes: str
    camera: int
    side_name: str = ""


@dataclass(frozen=True)
class Miniature:
    """A layout's files in the order in which they are read; the first identity that the gallery has is in no query."""

    layout: str
    folder: str
    shape: str
    files: dict[str, Named]

    @property
    def first_folder(self) -> str:
        """The folder that a layout opens first."""
        return {"prcc": "rgb/train"}.get(self.layout, next(iter(self.files)).split("/")[0])

    @property
    def train_sources(self) -> list[str]:
        return [source for source, named in self.files.items() if named.split == "train"]

    def side_name(self, source: str) -> str:
        return self.files[source].side_name or PurePosixPath(source).stem

    def write(self, base: Path, sources: dict[str, str] | None = None) -> Path:
        """Write the files (under other names if `sources` says so) into `base / folder`, and return that."""
        root = base / self.folder
        placed = [sources.get(source, source) if sources else source for source in self.files]
        for source in placed:
            (root / source).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (6, 12), (len(source), 0, 99)).save(root / source)
        if self.layout == "deepchange":
            for folder in {PurePosixPath(source).parts[0] for source in placed}:
                lines = [
                    f"{PurePosixPath(source).name},{named.camera}"
                    for source, named in zip(placed, self.files.values(), strict=True)
                    if source.startswith(f"{folder}/")
                ]
                (root / f"{folder}-bbox.txt").write_text("\n".join(lines))
        return root


MINIATURES = (
    Miniature(
        "ltcc",
        "LTCC_ReID",
        "PID_CLOTH_cCAM_FRAME.png",
        {
            "train/000_2_c8_001135.png": Named("train", "000", "000_2", 7),
            "train/012_1_c2_000007.png": Named("train", "012", "012_1", 1),
            "query/094_1_c12_000002.png": Named("query", "094", "094_1", 11, "query/094_1_c12_000002"),
            "test/093_1_c3_000004.png": Named("gallery", "093", "093_1", 2, "test/093_1_c3_000004"),
            "test/094_2_c1_000003.png": Named("gallery", "094", "094_2", 0, "test/094_2_c1_000003"),
        },
    ),
    Miniature(
        "prcc",
        "prcc",
        "PID/{A,B,C}_cropped_rgbNNN.jpg",
        {
            "rgb/train/009/A_cropped_rgb001.jpg": Named("train", "009", "009", 0, "009_A_cropped_rgb001"),
            "rgb/train/108/A_cropped_rgb001.jpg": Named("train", "108", "108", 0, "108_A_cropped_rgb001"),
            "rgb/train/108/B_cropped_rgb004.jpg": Named("train", "108", "108", 1, "108_B_cropped_rgb004"),
            "rgb/train/108/C_cropped_rgb001.jpg": Named("train", "108", "108C", 2, "108_C_cropped_rgb001"),
            "rgb/test/A/001/cropped_rgb001.jpg": Named("gallery", "001", "001", 0, "A/001_cropped_rgb001"),
            "rgb/test/A/002/cropped_rgb001.jpg": Named("gallery", "002", "002", 0, "A/002_cropped_rgb001"),
            "rgb/test/B/002/cropped_rgb001.jpg": Named("query", "002", "002", 1, "B/002_cropped_rgb001"),
            "rgb/test/C/002/cropped_rgb001.jpg": Named("query", "002", "002C", 2, "C/002_cropped_rgb001"),
        },
    ),
    Miniature(
        "last",
        "last",
        "PID/PID_…_CLOTH.jpg",
        {
            "train/000002/000002_000_00009_0257_01_001.jpg": Named(
                "train", "000002", "000002_001", 0, "000002_000002_000_00009_0257_01_001"
            ),
            "train/000004/000004_005_00009_0288_01_006.jpg": Named(
                "train", "000004", "000004_006", 1, "000004_000004_005_00009_0288_01_006"
            ),
            "val/query/000900_000_00001_0001_00.jpg": Named(
                "val", "000900", "val/query/000900_000_00001_0001_00.jpg", 2, "query/000900_000_00001_0001_00"
            ),
            "val/gallery/000900/000900_001_00001_0002_00.jpg": Named(
                "val", "000900", "val/gallery/000900/000900_001_00001_0002_00.jpg", 3
            ),
            "test/query/000950_000_00001_0001_00.jpg": Named(
                "query", "000950", "test/query/000950_000_00001_0001_00.jpg", 4, "query/000950_000_00001_0001_00"
            ),
            "test/gallery/000940/000940_000_00001_0005_00.jpg": Named(
                "gallery", "000940", "test/gallery/000940/000940_000_00001_0005_00.jpg", 5
            ),
            "test/gallery/000950/000950_001_00001_0002_00.jpg": Named(
                "gallery", "000950", "test/gallery/000950/000950_001_00001_0002_00.jpg", 6
            ),
        },
    ),
    Miniature(
        "deepchange",
        "DeepChangeDataset",
        "pPID_cCAM_DATE_TIME_FRAME_bbox.jpg",
        {
            "train-set/p0003_c01_20201015_172644_000744_bbox.jpg": Named("train", "p0003", "p0003_20201015", 17),
            "train-set/p0003_c01_20201214_083954_000496_bbox.jpg": Named("train", "p0003", "p0003_20201214", 18),
            "val-set-query/p0012_c09_20200813_082241_000065_bbox.jpg": Named("val", "p0012", "p0012_20200813", 30),
            "val-set-gallery/p0012_c09_20200813_082241_000099_bbox.jpg": Named("val", "p0012", "p0012_20200813", 31),
            "test-set-query/p0020_c10_20200813_120018_000160_bbox.jpg": Named(
                "query", "p0020", "p0020_20200813", 40, "test-set-query/p0020_c10_20200813_120018_000160_bbox"
            ),
            "test-set-gallery/p0019_c17_20201015_120439_000065_bbox.jpg": Named(
                "gallery", "p0019", "p0019_20201015", 41
            ),
            "test-set-gallery/p0020_c10_20200813_120021_000159_bbox.jpg": Named(
                "gallery", "p0020", "p0020_20200813", 42
            ),
        },
    ),
    Miniature(
        "celeb",
        "Celeb-reID",
        "PID_INDEX_X.jpg",
        {
            "train/12_301_0.jpg": Named("train", "12", "12_train_301", 3),
            "train/2_17_1.jpg": Named("train", "2", "2_train_17", 1),
            "query/640_9_0.jpg": Named("query", "640", "640_query_9", 9, "query/640_9_0"),
            "gallery/639_9_0.jpg": Named("gallery", "639", "639_gallery_9", 9, "gallery/639_9_0"),
            "gallery/640_10_0.jpg": Named("gallery", "640", "640_gallery_10", 1, "gallery/640_10_0"),
        },
    ),
    Miniature(
        "vc-clothes",
        "VC-Clothes",
        "PID-CAM-CLOTH-SEQ.jpg",
        {
            "train/0003-01-02-31.jpg": Named("train", "0003", "0003_02", 0),
            "train/0012-04-02-31.jpg": Named("train", "0012", "0012_02", 3),
            "query/0400-03-01-05.jpg": Named("query", "0400", "0400_01", 2),
            "gallery/0399-03-01-05.jpg": Named("gallery", "0399", "0399_01", 2),
            "gallery/0400-04-02-05.jpg": Named("gallery", "0400", "0400_02", 3),
        },
    ),
    Miniature(
        "market1501",
        "Market-1501-v15.09.15",
        "PID_cCsS_FRAME_NN.jpg",
        {
            "bounding_box_train/0002_c1s1_000451_03.jpg": Named("train", "0002", "0002", 0),
            "bounding_box_train/0007_c3s3_077419_03.jpg": Named("train", "0007", "0007", 2),
            "query/0003_c6s1_000001_00.jpg": Named("query", "0003", "0003", 5),
            "bounding_box_test/0000_c2s1_000451_03.jpg": Named("gallery", "0000", "0000", 1),
            "bounding_box_test/0003_c1s6_015996_02.jpg": Named("gallery", "0003", "0003", 0),
        },
    ),
)


@pytest.fixture(params=MINIATURES, ids=lambda miniature: miniature.layout)
def miniature(request: pytest.FixtureRequest) -> Miniature:
    """Each layout in turn."""
    return request.param


@pytest.fixture
def miniature_of() -> dict[str, Miniature]:
    """The layouts by name."""
    return {miniature.layout: miniature for miniature in MINIATURES}
