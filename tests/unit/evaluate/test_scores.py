import numpy as np
import pytest

from rlq_ray.errors import DataError
from rlq_ray.evaluate import Labels, Ranking, chance_ap, chance_map, match_counts, metrics, rank


def test_refuses_a_protocol_that_leaves_no_match(sample):
    q, g, query, gallery = sample
    apart = Labels(query.identity_N + 100, query.camera_N, query.clothes_N)
    with pytest.raises(DataError, match="'sc' leaves none of the 40 queries a match"):
        metrics(rank(q, g, apart, gallery, "sc"))
    with pytest.raises(DataError, match="'sc' leaves none of the 40 queries a match"):
        chance_map(apart, gallery, "sc")


def test_means_leave_out_queries_without_match(sample, textbook):
    result = metrics(rank(*sample, "cc"))
    kept = [e for e in textbook.score(*sample, "cc") if e[0]]
    assert (result.queries, result.queries_left_out) == (len(kept), 40 - len(kept))
    assert result.mean_ap == pytest.approx(np.mean([e[1] for e in kept]))
    assert result.mean_inp == pytest.approx(np.mean([e[2] for e in kept]))
    for k in (1, 5, 10, 20, 50):
        assert result.top(k) == pytest.approx(np.mean([e[3] < k for e in kept]))


def test_cmc_counts_first_matches_by_hand():
    first = np.array([0, 2, 2, 60])
    ones = np.ones(4, dtype=np.int64)
    ranking = Ranking("cc", ones, ones > 0, 1 / (first + 1), 1 / (first + 1), first, ones, 100 * ones)
    result = metrics(ranking)
    assert result.cmc_K[[0, 1, 2, 49]].tolist() == [0.25, 0.25, 0.75, 0.75]
    assert result.chance_top1 == pytest.approx(0.01)


def test_chance_by_hand():
    assert chance_ap([1, 1, 2, 5], [1, 2, 2, 5]) == pytest.approx([1, 0.75, 1, 1])


@pytest.mark.parametrize(("n", "total"), [(1, 10), (3, 7), (6, 40)])
def test_chance_is_the_mean_over_random_orders(n, total):
    rng = np.random.default_rng(0)
    places = np.sort(rng.permuted(np.tile(np.arange(total), (40_000, 1)), axis=1)[:, :n], axis=1)
    simulated = (np.arange(1, n + 1) / (places + 1)).mean(axis=1)
    error = simulated.std() / np.sqrt(len(simulated))
    assert abs(chance_ap(n, total) - simulated.mean()) < 4 * error


def test_chance_needs_labels_only(sample):
    ranking = rank(*sample, "cc")
    matches, candidates = match_counts(sample[2], sample[3], "cc")
    np.testing.assert_array_equal(matches, ranking.match_count_Q)
    np.testing.assert_array_equal(candidates, ranking.candidate_count_Q)
    assert chance_map(sample[2], sample[3], "cc") == pytest.approx(metrics(ranking).chance_map)


def test_random_features_score_chance():
    rng = np.random.default_rng(5)
    size = 600
    labels = Labels(rng.integers(10, size=size), rng.integers(3, size=size), rng.integers(3, size=size))
    result = metrics(rank(rng.normal(size=(size, 64)), rng.normal(size=(size, 64)), labels, labels, "general"))
    assert result.mean_ap == pytest.approx(result.chance_map, rel=0.05)
