import numpy as np
import pytest

from rlq_ray.pictures import Retrieval, annotated, contact_sheet, degradation_pairs, retrieval_gallery, severity_grid


def image(value):
    """One plain image whose pixels can be found again on a sheet."""
    return np.full((60, 30, 3), (value, 255 - value, 7), dtype=np.uint8)


def where(sheet, value):
    """Leftmost, topmost pixel of that plain image on a sheet; None if it is not there."""
    found = np.argwhere((np.asarray(sheet) == image(value)[0, 0]).all(axis=2))
    return None if found.size == 0 else (int(found[:, 1].min()), int(found[:, 0].min()))


def test_contact_sheet_has_identities_in_rows_and_outfits_in_columns():
    groups = [("a", "1"), ("a", "2"), ("b", "x"), ("b", "y"), ("a", "1"), ("a", "1")]
    images = [image(10 * (i + 1)) for i in range(6)]
    sheet = contact_sheet(images, ["c"] * 6, groups, title="people")
    a1, a2, b1, b2, a1_again = (where(sheet, 10 * (i + 1)) for i in range(5))
    assert a1[1] == a2[1] < b1[1] == b2[1]
    assert a1[0] == b1[0] < a1_again[0] < a2[0] == b2[0]
    assert a1_again[1] == a1[1]
    assert where(sheet, 60) is None


def test_contact_sheet_refuses_uneven_lists():
    with pytest.raises(ValueError, match="1 images, 2 captions and 1 groups"):
        contact_sheet([image(1)], ["a", "b"], [("a", "1")], title="t")


def test_annotations_tint_masks_and_draw_only_seen_joints():
    grey = np.full((120, 60, 3), 128, dtype=np.uint8)
    shirt = np.zeros((120, 60), dtype=bool)
    shirt[20:40, 20:40] = True
    changed = (annotated(grey, shirt_HW=shirt).astype(int) != 128).any(axis=2)
    assert changed[22:38, 22:38].all()
    assert not changed[60:].any()
    joints = np.zeros((17, 3))
    np.testing.assert_array_equal(annotated(grey, joints_J3=joints), grey)
    joints[13], joints[15] = (30, 80, 1), (30, 110, 1)
    drawn = (annotated(grey, joints_J3=joints).astype(int) != 128).any(axis=2)
    assert drawn[80:110, 30].all()
    assert not drawn[:70].any()


def test_pairs_stand_above_each_other_and_wrap():
    clean, worse = [image(10 * i) for i in range(1, 6)], [image(10 * i + 5) for i in range(1, 6)]
    sheet = degradation_pairs(clean, worse, ["σ"] * 5, title="t", columns=3)
    for i in range(1, 6):
        above, below = where(sheet, 10 * i), where(sheet, 10 * i + 5)
        assert above[0] == below[0]
        assert above[1] < below[1]
    assert where(sheet, 40)[0] == where(sheet, 10)[0]
    assert where(sheet, 40)[1] > where(sheet, 15)[1]
    with pytest.raises(ValueError, match="5 clean images, 4 degraded"):
        degradation_pairs(clean, worse[:4], ["σ"] * 5, title="t")


def test_severity_grid_has_artefacts_in_rows_and_severity_in_columns():
    steps = {"blur": [("1", image(20)), ("2", image(30))], "pixels": [("3", image(40))]}
    sheet = severity_grid(image(10), steps, title="t")
    assert where(sheet, 10)[0] < where(sheet, 20)[0] < where(sheet, 30)[0]
    assert where(sheet, 20)[0] == where(sheet, 40)[0]
    assert where(sheet, 20)[1] < where(sheet, 40)[1]
    with pytest.raises(ValueError, match="no rows"):
        severity_grid(image(10), {}, title="t")


def found(query, *results, correct=None):
    flags = [True] * len(results) if correct is None else correct
    return Retrieval("RLQ\nHQ", image(query), "q", [image(r) for r in results], flags, ["c"] * len(results))


def test_retrieval_gallery_has_the_query_first_and_ranks_in_order():
    sheet = retrieval_gallery([[found(10, 20, 30), found(15, 40)], [found(50, 60)]], "cc", subtitle="s")
    assert where(sheet, 10)[0] < where(sheet, 20)[0] < where(sheet, 30)[0]
    assert where(sheet, 10)[1] < where(sheet, 15)[1] < where(sheet, 50)[1]
    assert where(sheet, 20)[0] == where(sheet, 40)[0] == where(sheet, 60)[0]


def test_retrieval_refuses_uneven_lists_and_empty_groups():
    with pytest.raises(ValueError, match="has 2 results, 1 flags"):
        found(10, 20, 30, correct=[True])
    with pytest.raises(ValueError, match="is empty"):
        retrieval_gallery([[]], "cc")
