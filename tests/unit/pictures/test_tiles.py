import numpy as np
import pytest
from PIL import ImageColor

from rlq_ray.pictures.style import PANEL, PAPER, RIGHT, WRONG
from rlq_ray.pictures.tiles import Layout, Row, Tile, draw_sheet

RED = np.full((60, 30, 3), (200, 10, 10), dtype=np.uint8)
LAYOUT = Layout(tile_width=40, tile_height=80)


def pixels_of(sheet, colour):
    return (np.asarray(sheet) == np.array(ImageColor.getrgb(colour))).all(axis=2)


@pytest.mark.parametrize("image", [RED.astype(np.float32), RED[..., 0], np.zeros((4, 4, 4), dtype=np.uint8)])
def test_refuses_what_is_not_uint8_rgb(image):
    with pytest.raises(ValueError, match="give uint8 RGB"):
        draw_sheet([Row([Tile(image)])], LAYOUT, title="t")


def test_refuses_an_empty_sheet():
    with pytest.raises(ValueError, match="no rows"):
        draw_sheet([], LAYOUT, title="t")


def test_an_image_fills_its_tile_at_its_own_aspect():
    sheet = np.asarray(draw_sheet([Row([Tile(RED)])], LAYOUT, title=""))
    assert (sheet == RED[0, 0]).all(axis=2).sum() == 40 * 80
    square = draw_sheet([Row([Tile(RED[:30])])], LAYOUT, title="")
    assert (np.asarray(square) == RED[0, 0]).all(axis=2).sum() == 40 * 40
    assert pixels_of(square, PANEL).sum() == 40 * 40


@pytest.mark.parametrize(("right", "present", "absent"), [(True, RIGHT, WRONG), (False, WRONG, RIGHT)])
def test_right_and_wrong_have_frames_and_marks_of_their_own(right, present, absent):
    sheet = draw_sheet([Row([Tile(RED, right=right)])], LAYOUT, title="")
    assert pixels_of(sheet, present).sum() > 2 * 4 * (40 + 80)
    assert pixels_of(sheet, absent).sum() == 0


def test_marks_differ_in_shape_not_only_in_colour():
    marks = [pixels_of(draw_sheet([Row([Tile(RED, right=right)])], LAYOUT, title=""), PAPER) for right in (True, False)]
    assert (marks[0] != marks[1]).any()


def test_more_tiles_rows_and_lines_need_more_room():
    def size(*rows):
        return draw_sheet(rows, LAYOUT, title="").size

    one = size(Row([Tile(RED)]))
    assert size(Row([Tile(RED)] * 3))[0] > one[0] + 80
    assert size(Row([Tile(RED)]), Row([Tile(RED)]))[1] > one[1] + 80
    assert size(Row([Tile(RED, "a\nb")]))[1] > size(Row([Tile(RED, "a")]))[1] > one[1]
    assert size(Row([Tile(RED)], label="a person"))[0] > one[0]


def test_an_overlong_caption_stays_in_its_column():
    short, long = (
        np.asarray(draw_sheet([Row([Tile(RED), Tile(RED, caption)])], LAYOUT, title="")) for caption in ("i", "w" * 99)
    )
    assert (short[:, :64] == long[:, :64]).all()
