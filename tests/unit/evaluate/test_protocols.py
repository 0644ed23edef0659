import numpy as np
import pytest

from rlq_ray.errors import DataError, UsageError
from rlq_ray.evaluate import PROTOCOLS, GalleryProtocol, Labels, protocol_named, shared_codes, shared_labels

QUERY = Labels(np.array([0]), np.array([0]), np.array([0]))
#                     same all | other clothes | other camera | both other | stranger alike | distractor
GALLERY = Labels(np.array([0, 0, 0, 0, 1, -1]), np.array([0, 0, 1, 1, 0, 0]), np.array([0, 1, 0, 1, 0, 0]))


def test_labels_refuse_what_does_not_fit():
    with pytest.raises(DataError, match=r"\(2, 1, 1\)"):
        Labels(np.array([0, 1]), np.array([0]), np.array([0]))
    with pytest.raises(DataError, match="float64"):
        Labels(np.array([0.5]), np.array([0]), np.array([0]))


def test_unknown_protocol_is_refused_by_name():
    with pytest.raises(UsageError, match="'ccc': choose one of general, cc, sc"):
        protocol_named("ccc")


def test_a_label_that_the_rule_compares_must_be_known():
    gallery = Labels(np.array([1, 0]), np.array([1, 1]), np.array([-1, -1]))
    assert protocol_named("general").valid(QUERY, gallery).all()
    with pytest.raises(DataError, match="'cc' compares the clothes label, which gallery image 1 lacks"):
        protocol_named("cc").valid(QUERY, gallery)


def test_a_stranger_without_labels_does_no_harm():
    gallery = Labels(np.array([-1]), np.array([-1]), np.array([-1]))
    assert protocol_named("cc").valid(QUERY, gallery).all()


@pytest.mark.parametrize(
    ("protocol", "valid"),
    [("general", [0, 0, 1, 1, 1, 1]), ("cc", [0, 0, 0, 1, 1, 1]), ("sc", [0, 0, 1, 0, 1, 1])],
)
def test_which_gallery_images_stay(protocol, valid):
    assert protocol_named(protocol).valid(QUERY, GALLERY).astype(int).tolist() == [valid]


def test_protocols_are_those_of_the_configuration():
    assert PROTOCOLS == ("general", "cc", "sc")


def test_another_rule_is_an_object():
    everything = GalleryProtocol("everything", lambda camera, clothes: np.ones_like(camera), ())
    assert everything.valid(QUERY, GALLERY).all()
    assert protocol_named(everything) is everything


def test_codes_are_shared_and_unknown_stays_unknown():
    q, g = shared_codes(np.array(["b", ""]), np.array(["a", "b"]))
    assert q[0] == g[1] != g[0]
    assert q[1] == -1
    q, g = shared_codes(np.array([7, -1]), np.array([-1, 7, 3], dtype=np.int32))
    assert (q[0], q[1]) == (g[1], g[0])
    assert g[0] == -1 != g[2]
    assert q.min() == -1


def test_codes_refuse_mixed_kinds():
    with pytest.raises(DataError, match="integers and text"):
        shared_codes(np.array(["1"]), np.array([1]))


def test_shared_labels_pairs_each_column():
    query, gallery = shared_labels((["p1"], ["c1"], ["x"]), (["p2", "p1"], ["c2", "c1"], ["x", "y"]))
    assert (gallery.identity_N == query.identity_N[0]).tolist() == [False, True]
    assert (gallery.camera_N == query.camera_N[0]).tolist() == [False, True]
    assert (gallery.clothes_N == query.clothes_N[0]).tolist() == [True, False]
