import io

import matplotlib.pyplot as plt
import pytest
from PIL import Image

from rlq_ray.tracking.artifacts import checked_place, encode_figure, encode_image


@pytest.mark.parametrize(("name", "expected"), [("a.png", "PNG"), ("x/a.jpg", "JPEG"), ("a.JPEG", "JPEG")])
def test_the_name_says_the_format(name, expected):
    assert Image.open(io.BytesIO(encode_image(name, Image.new("RGB", (2, 2))))).format == expected


def test_figures_may_be_vectors():
    figure, _ = plt.subplots()
    assert b"<svg" in encode_figure("a.svg", figure)
    plt.close(figure)


def test_refuses_a_name_without_a_format():
    with pytest.raises(ValueError, match="'sheet' says no format"):
        encode_image("sheet", Image.new("RGB", (2, 2)))


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.txt", "a/../../b.txt", ""])
def test_refuses_names_that_leave_the_run(name):
    with pytest.raises(ValueError, match="leaves the run"):
        checked_place(name)


def test_keeps_folders():
    assert checked_place("pictures/a.png").parts == ("pictures", "a.png")
