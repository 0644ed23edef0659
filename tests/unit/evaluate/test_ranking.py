import numpy as np
import pytest

from rlq_ray.errors import DataError
from rlq_ray.evaluate import PROTOCOLS, Labels, rank, rank_protocols, top_k


def labels(identity, camera, clothes=None):
    zeros = np.zeros(len(identity), dtype=int)
    return Labels(np.array(identity), np.array(camera), zeros if clothes is None else np.array(clothes))


def test_refuses_features_that_do_not_fit(sample):
    q, g, query, gallery = sample
    with pytest.raises(DataError, match="39 features but 40 labels"):
        rank(q[1:], g, query, gallery, "cc")
    with pytest.raises(DataError, match=r"16 numbers, gallery features 15"):
        rank(q, g[:, 1:], query, gallery, "cc")
    with pytest.raises(DataError, match="int64"):
        rank(q.astype(np.int64), g, query, gallery, "cc")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_refuses_a_feature_that_is_not_finite(sample, value):
    q, g, query, gallery = sample
    g = g.astype(np.float64)
    g[5, 3] = value
    with pytest.raises(DataError, match="gallery feature 5 is not finite"):
        rank(q, g, query, gallery, "cc")


def test_refuses_a_query_without_identity(sample):
    q, g, _, gallery = sample
    query = labels([0] * 39 + [-1], [0] * 40)
    with pytest.raises(DataError, match="query image 39 has no identity"):
        rank(q, g, query, gallery, "cc")


def test_scores_by_hand():
    # Cosines fall with the index; image 0 is dropped (camera), so matches at places 1 and 3 of [s, m, s, m].
    angle = np.array([0.0, 0.1, 0.2, 0.3, 0.4])
    g = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    query, gallery = labels([0], [0]), labels([0, 1, 0, 1, 0], [0, 0, 1, 1, 2])
    ranking = rank(np.array([[2.0, 0.0]]), g, query, gallery, "general")
    assert ranking.ap_Q[0] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert ranking.inp_Q[0] == pytest.approx(2 / 4)
    assert ranking.first_rank_Q[0] == 1
    assert (ranking.match_count_Q[0], ranking.candidate_count_Q[0]) == (2, 4)


def test_a_query_without_match_is_not_valid():
    query = labels([0, 0, 3], [0, 1, 0])
    gallery = labels([0, 1], [0, 1])
    ranking = rank(np.eye(3, 4), np.eye(2, 4), query, gallery, "general")
    assert ranking.valid_Q.tolist() == [False, True, False]
    assert np.isnan(ranking.ap_Q[[0, 2]]).all()
    assert ranking.first_rank_Q.tolist() == [-1, 1, -1]
    assert ranking.candidate_count_Q.tolist() == [1, 2, 2]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_agrees_with_the_textbook_on_data_with_ties(sample, textbook, protocol):
    ranking = rank(*sample, protocol)
    expected = textbook.score(*sample, protocol)
    assert ranking.valid_Q.tolist() == [e[0] for e in expected]
    assert 0 < ranking.valid_Q.sum() < len(ranking)
    for row, (valid, ap, inp, first) in enumerate(expected):
        if valid:
            assert ranking.ap_Q[row] == pytest.approx(ap, abs=1e-12)
            assert ranking.inp_Q[row] == pytest.approx(inp, abs=1e-12)
            assert ranking.first_rank_Q[row] == first


def test_protocols_together_are_protocols_apart(sample):
    together = rank_protocols(*sample, PROTOCOLS)
    for protocol in PROTOCOLS:
        np.testing.assert_array_equal(together[protocol].ap_Q, rank(*sample, protocol).ap_Q)


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_chunks_do_not_change_the_scores(sample, rows):
    whole, parts = rank(*sample, "cc"), rank(*sample, "cc", chunk_bytes=rows * 4 * 157)
    np.testing.assert_array_equal(whole.ap_Q, parts.ap_Q)
    np.testing.assert_array_equal(whole.first_rank_Q, parts.first_rank_Q)


def test_order_of_distinct_gallery_images_does_not_matter(sample):
    q, _, query, gallery = sample
    rng = np.random.default_rng(0)
    g, order = rng.normal(size=(157, 16)), rng.permutation(157)
    a, b = rank(q, g, query, gallery, "cc"), rank(q, g[order], query, gallery.take(order), "cc")
    np.testing.assert_allclose(a.ap_Q, b.ap_Q, atol=1e-12)


def test_length_and_type_of_features_do_not_matter(sample):
    q, g, query, gallery = sample
    length = np.random.default_rng(0).choice([2.0**-80, 2.0**70], size=(157, 1))
    a, b = rank(q, g, query, gallery, "sc"), rank(q * 4, g.astype(np.float64) * length, query, gallery, "sc")
    np.testing.assert_array_equal(a.ap_Q, b.ap_Q)


@pytest.mark.parametrize("width", [64, 333])
def test_collapsed_features_keep_the_order_of_the_gallery(width):
    # The product rounds equal columns differently; 203 columns reach past its blocks.
    rng = np.random.default_rng(1)
    point = rng.normal(size=width).astype(np.float32)
    gallery = labels(rng.integers(1, 4, size=203), np.ones(203, dtype=int))
    gallery.identity_N[[10, 150]] = 0
    query = labels([0] * 70, [0] * 70)
    ranking = rank(rng.normal(size=(70, width)), np.tile(point, (203, 1)), query, gallery, "general")
    assert ranking.first_rank_Q.tolist() == [10] * 70
    np.testing.assert_allclose(ranking.ap_Q, (1 / 11 + 2 / 151) / 2)


def test_features_of_zeros_rank_like_collapsed_ones():
    query, gallery = labels([0], [0]), labels([1, 1, 0], [1, 1, 1])
    assert rank(np.zeros((1, 4)), np.zeros((3, 4)), query, gallery, "general").first_rank_Q.tolist() == [2]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nearest_images_are_those_of_the_textbook(sample, textbook, protocol):
    index, correct = top_k(*sample, protocol, 10)
    for row, entries in enumerate(textbook.ranked_gallery(*sample, protocol)):
        assert index[row].tolist() == [j for j, _ in entries[:10]]
        assert correct[row].tolist() == [match for _, match in entries[:10]]


def test_nearest_images_end_where_the_gallery_does():
    query, gallery = labels([0], [0]), labels([0, 0, 1], [0, 1, 1])
    index, correct = top_k(np.array([[1.0, 0]]), np.array([[1.0, 0], [1, 0.1], [0, 1]]), query, gallery, "general", 4)
    assert index.tolist() == [[1, 2, -1, -1]]
    assert correct.tolist() == [[True, False, False, False]]
