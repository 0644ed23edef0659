"""Rendering again: the frames are those of the files, and their labels those of the masks."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlq_ray.people.again import IdentityJob, render_identity
from rlq_ray.people.dataset import write_part
from rlq_ray.people.presets import Preset
from rlq_ray.people.shading import Label


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, preset: Preset) -> Path:
    folder = tmp_path_factory.mktemp("people")
    write_part(str(folder), preset, population="target", seed=5, part=0, num_parts=1)
    return folder


def test_refuses_who_is_not_there(preset: Preset) -> None:
    with pytest.raises(ValueError, match="identity 1000: the target population has 1000 bodies"):
        render_identity(IdentityJob(preset, "target", 5, 1000))


def test_frames_are_those_of_the_files(root: Path, preset: Preset) -> None:
    frames = render_identity(pickle.loads(pickle.dumps(IdentityJob(preset, "target", 5, 3))))
    files = {path.stem: path for path in (root / "LTCC_ReID").rglob("003_*.png")}
    assert frames.keys() == files.keys()
    assert len(files) == preset.images_per_identity
    for stem, frame in frames.items():
        assert np.array_equal(np.asarray(Image.open(files[stem])), frame.image_HW3)
        for kind, label in (("shirt", Label.SHIRT), ("pant", Label.TROUSERS)):
            mask = np.asarray(Image.open(root / "masks" / f"{stem}_{kind}.png")) > 0
            assert np.array_equal(mask, frame.label_HW == label)


def test_labels_lie_where_such_things_are(preset: Preset) -> None:
    rows = np.arange(preset.height)[:, None]
    for identity in range(4):
        for frame in render_identity(IdentityJob(preset, "target", 5, identity)).values():
            height = {label: (rows * (frame.label_HW == label)).sum() for label in Label}
            size = {label: max(1, (frame.label_HW == label).sum()) for label in Label}
            mean = {label: height[label] / size[label] for label in Label}
            assert frame.label_HW.dtype == np.uint8
            assert set(np.unique(frame.label_HW)) <= set(Label)
            assert mean[Label.SHIRT] < mean[Label.TROUSERS] < mean[Label.SHOE]
            if size[Label.HAIR] > 1:
                assert mean[Label.HAIR] < mean[Label.SHIRT]
            assert (frame.label_HW == Label.SKIN).any()
