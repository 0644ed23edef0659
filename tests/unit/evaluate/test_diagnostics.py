import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from rlq_ray.errors import DataError
from rlq_ray.evaluate import Labels, diagnose, lq_neighbour_share, silhouette, wrong_match_gender
from rlq_ray.evaluate.similarity import normalised


def at(*degrees):
    """Directions in the plane, of any length."""
    radians = np.radians(degrees)
    return (np.stack([np.cos(radians), np.sin(radians)], axis=1) * 3).astype(np.float32)


def people(identity, camera=None):
    """Labels where every image is of another camera and other clothes, so that all matches count."""
    camera = np.arange(len(identity)) if camera is None else camera
    return Labels(np.asarray(identity), np.asarray(camera), np.arange(len(identity)))


def test_refuses_what_has_no_clusters_or_neighbours():
    with pytest.raises(DataError, match="silhouette of 1 cluster"):
        silhouette(at(0, 10), np.array([4, 4]))
    with pytest.raises(DataError, match="3 labels"):
        silhouette(at(0, 10), np.array([4, 4, 5]))
    with pytest.raises(DataError, match="1 image has no neighbours"):
        lq_neighbour_share(at(0), at(10))
    with pytest.raises(DataError, match="2 features but 1 labels"):
        lq_neighbour_share(at(0), at(10, 20))


def test_silhouette_by_hand():
    # 0° and 0° against 90°: a = 0 and b = 1 for the two, and the third is alone.
    assert silhouette(at(0, 0, 90), np.array([0, 0, 1])) == pytest.approx(2 / 3)
    # 0° and 60° against 90° and 90°: a = 1/2, b = 1 and 1 − cos 30°; then a = 0.
    by_hand = [(1 - 0.5) / 1, (1 - np.sqrt(0.75) - 0.5) / 0.5, 1, 1]
    assert silhouette(at(0, 60, 90, 90), np.array([0, 0, 1, 1])) == pytest.approx(np.mean(by_hand), abs=1e-6)


def test_silhouette_agrees_with_scikit_learn(sample):
    _, feat, _, labels = sample
    rng = np.random.default_rng(0)
    for cluster in (labels.identity_N, labels.camera_N, rng.integers(100, size=len(feat))):
        expected = silhouette_score(feat.astype(np.float64), cluster, metric="cosine")
        assert silhouette(feat, cluster) == pytest.approx(expected, abs=1e-6)


def test_features_in_one_point_have_no_clusters():
    feat = np.tile(np.random.default_rng(0).normal(size=64), (40, 1)).astype(np.float32)
    assert silhouette(feat, np.arange(40) % 2) == 0


def test_neighbours_by_hand():
    # Image 0 is at 0° and, degraded, at 80°; image 1 at 10° and 90°. Without their own: {10°, 90°}, then {0°, 80°}.
    clear = lq_neighbour_share(at(0, 10), at(80, 90), neighbours=1)
    assert (clear.value, clear.chance, clear.cases) == (1, 0.5, 2)
    assert lq_neighbour_share(at(0, 10), at(80, 90)).value == 0.5, "two neighbours are all there are"
    # Degraded, each looks like the other's clean image.
    assert lq_neighbour_share(at(90, 0), at(5, 95), neighbours=1).value == 0
    # Degraded at 1°, 51° and 52°, the first sees 50° first, the others see each other.
    assert lq_neighbour_share(at(0, 50, 100), at(1, 51, 52), neighbours=1).value == pytest.approx(2 / 3)


def test_equally_near_neighbours_share_the_places():
    feat = np.tile(np.random.default_rng(0).normal(size=64), (30, 1)).astype(np.float32)
    assert lq_neighbour_share(feat, feat).value == pytest.approx(0.5)
    # From 0°: one at 10°, then two at 20° of which one is LQ; two places.
    hq, lq = at(45, 10, -20), at(0, 20, 180)
    slow = neighbour_share_slowly(hq, lq, 2)
    assert lq_neighbour_share(hq, lq, neighbours=2).value == pytest.approx(slow, abs=0.02)


def neighbour_share_slowly(hq, lq, k):
    """Average over many random orders of what is equally near."""
    rng = np.random.default_rng(0)
    unit, images = np.concatenate([normalised(hq), normalised(lq)]).astype(np.float64), len(hq)
    shares = []
    for _ in range(2000):
        for row in range(images):
            others = rng.permutation([i for i in range(2 * images) if i % images != row])
            nearest = sorted(others, key=lambda i: -round(float(unit[images + row] @ unit[i]), 5))[:k]
            shares.append(np.mean([i >= images for i in nearest]))
    return np.mean(shares)


def test_neighbours_agree_with_a_slow_count():
    rng = np.random.default_rng(1)
    hq, lq = (rng.normal(size=(25, 8)).astype(np.float32) for _ in range(2))
    unit = np.concatenate([normalised(hq), normalised(lq)])
    shares = []
    for row in range(25):
        others = [i for i in range(50) if i % 25 != row]
        nearest = sorted(others, key=lambda i: -float(unit[25 + row] @ unit[i]))[:10]
        shares.append(np.mean([i >= 25 for i in nearest]))
    assert lq_neighbour_share(hq, lq).value == pytest.approx(np.mean(shares))


def test_without_a_difference_in_quality_the_share_is_chance():
    feat = np.random.default_rng(1).normal(size=(400, 8)).astype(np.float32)
    assert lq_neighbour_share(feat, feat).value == pytest.approx(0.5)


def test_gender_of_wrong_matches_by_hand():
    # Gallery: identities 0 0 1 2 3 at 0° 40° 10° 60° 90°, genders f f f m m. Queries 0 at 12°, 0 at 70°, 0 at 1°.
    gallery, query = people([0, 0, 1, 2, 3]), people([0, 0, 0], camera=[7, 8, 9])
    query = Labels(query.identity_N, query.camera_N, np.array([7, 8, 9]))
    gender_G, gender_Q = np.array([0, 0, 0, 1, 1], dtype=np.int8), np.array([0, 0, 0], dtype=np.int8)
    found = wrong_match_gender(at(12, 70, 1), at(0, 40, 10, 60, 90), query, gallery, gender_Q, gender_G, "cc")
    assert found.value == 0.5, "the first finds a woman, the second a man, the third herself"
    assert found.chance == pytest.approx(1 / 3), "one of three strangers is a woman"
    assert found.cases == 2


def test_unknown_genders_and_queries_without_match_do_not_count():
    gallery, query = people([0, 0, 1, 2]), Labels(np.array([0, 5, 0]), np.array([7, 8, 9]), np.array([7, 8, 9]))
    feats = at(12, 12, 62), at(0, 40, 10, 60)
    gender_G = np.array([1, 1, 1, -1])
    found = wrong_match_gender(*feats, query, gallery, np.array([1, 1, 1]), gender_G, "cc")
    assert (found.value, found.chance, found.cases) == (1, 1, 1)
    assert wrong_match_gender(*feats, query, gallery, np.array([-1, 1, 1]), gender_G, "cc") is None


def test_chance_agrees_with_random_features():
    rng = np.random.default_rng(0)
    labels, gender_P = people(rng.integers(12, size=600)), rng.integers(2, size=12)
    feat, gender = rng.normal(size=(600, 8)).astype(np.float32), gender_P[labels.identity_N]
    found = wrong_match_gender(feat, feat, labels, labels, gender, gender, "cc")
    assert found.value == pytest.approx(found.chance, abs=0.06)
    by_query = [np.mean(gender[labels.identity_N != labels.identity_N[i]] == gender[i]) for i in range(600)]
    assert found.chance == pytest.approx(np.mean(by_query), abs=0.01)


def test_names_what_can_be_told():
    rng = np.random.default_rng(0)
    labels = people(np.arange(60) // 5)
    hq, lq = (rng.normal(size=(60, 8)).astype(np.float32) for _ in range(2))
    whole = {"silhouette_quality", "silhouette_identity", "lq_neighbour_share", "lq_neighbour_share_chance"}
    genders = {f"{q}/cc/wrong_same_gender{end}" for q in ("hq", "lq") for end in ("", "_chance")}
    assert set(diagnose(hq, lq, labels, np.arange(60) // 5 % 2, "cc")) == whole | genders
    assert set(diagnose(hq, lq, labels, np.full(60, -1), "cc")) == whole
    one = people(np.zeros(60, dtype=np.int64))
    assert set(diagnose(hq, lq, one, np.zeros(60, dtype=np.int64), "cc")) == whole - {"silhouette_identity"}
    assert diagnose(hq[:1], lq[:1], one.take(slice(1)), np.zeros(1, dtype=np.int64), "cc") == {}


def test_of_many_images_some_are_looked_at_in_the_whole_gallery():
    rng = np.random.default_rng(0)
    labels, gender = people(np.arange(60) // 5), np.arange(60) // 5 % 2
    hq, lq = (rng.normal(size=(60, 8)).astype(np.float32) for _ in range(2))
    some = diagnose(hq, lq, labels, gender, "cc", max_images=20)
    rows = np.array([int(59 * i / 19) for i in range(20)])
    assert some["silhouette_quality"] == silhouette(np.concatenate([hq[rows], lq[rows]]), np.repeat([0, 1], 20))
    found = wrong_match_gender(lq[rows], hq, labels.take(rows), labels, gender[rows], gender, "cc")
    assert some["lq/cc/wrong_same_gender"] == found.value
    assert some == diagnose(hq, lq, labels, gender, "cc", max_images=20)


def test_degrading_that_takes_all_over_shows():
    rng = np.random.default_rng(0)
    labels = people(np.arange(60) // 5)
    person_ND = np.repeat(rng.normal(size=(12, 16)), 5, axis=0) + 0.1 * rng.normal(size=(60, 16))
    robust = diagnose(person_ND.astype(np.float32), person_ND.astype(np.float32), labels, np.full(60, -1), "cc")
    assert robust["silhouette_identity"] > 0.8
    assert robust["silhouette_quality"] == pytest.approx(0, abs=0.05)
    blurred_ND = (0.1 * person_ND + rng.normal(size=16)).astype(np.float32)
    taken = diagnose(person_ND.astype(np.float32), blurred_ND, labels, np.full(60, -1), "cc")
    assert taken["lq_neighbour_share"] == 1
    assert taken["silhouette_quality"] > robust["silhouette_quality"] + 0.3
    assert taken["silhouette_identity"] < 0.2
