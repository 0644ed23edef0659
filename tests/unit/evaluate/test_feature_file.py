import numpy as np
import pytest

from rlq_ray.errors import DataError
from rlq_ray.evaluate import rank, read_features


@pytest.fixture
def arrays(sample):
    q, g, query, gallery = sample
    names = np.array(["anna", "ben", "cem", "dora", "emil", "finn"])
    return {
        "q_feat": q,
        "g_feat": g,
        "q_pid": names[query.identity_N],
        "g_pid": names[gallery.identity_N],
        "q_cam": query.camera_N,
        "g_cam": gallery.camera_N,
        "q_clothes": query.clothes_N,
        "g_clothes": gallery.clothes_N,
    }


def written(path, arrays):
    np.savez(path, **arrays)
    return path


def test_features_score_as_before_they_were_written(tmp_path, sample, arrays):
    f = read_features(written(tmp_path / "f.npz", arrays))
    back = rank(f.query_feat_QD, f.gallery_feat_GD, f.query, f.gallery, "cc")
    np.testing.assert_array_equal(back.ap_Q, rank(*sample, "cc").ap_Q)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"g_clothes": None}, "lacks the array g_clothes"),
        ({"q_cam": np.zeros(3, dtype=int)}, r"q_cam has shape \(3,\) but q_feat has 40 rows"),
        ({"q_cam": np.zeros(40)}, "float64"),
        ({"q_pid": np.zeros(40, dtype=int)}, "integers and text"),
        ({"q_feat": np.full((40, 16), np.nan)}, "query feature 0 is not finite"),
        ({"q_feat": np.zeros((40, 9))}, "9 numbers"),
        ({"q_pid": np.array([None] * 40)}, "q_pid holds Python objects"),
    ],
)
def test_refuses_with_the_reason(tmp_path, arrays, change, message):
    arrays = {name: array for name, array in (arrays | change).items() if array is not None}
    with pytest.raises(DataError, match=message):
        read_features(written(tmp_path / "f.npz", arrays))


def test_refuses_what_is_no_such_file(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        read_features(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(DataError, match="cannot read"):
        read_features(tmp_path / "text.npz")
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(DataError, match="single array"):
        read_features(tmp_path / "single.npy")
