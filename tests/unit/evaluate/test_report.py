import io
import json

import numpy as np
import pytest

from rlq_ray.errors import DataError
from rlq_ray.evaluate import ROW_HEADER, compare, evaluate_features, from_arrays, metrics, rank


@pytest.fixture
def evaluation(sample):
    q, g, query, gallery = sample
    feats = {"hq": q, "lq": q[::-1].copy()}
    return evaluate_features(feats, g, query, gallery, protocols=("cc", "general"), bootstrap_samples=50, seed=1)


def test_refuses_a_protocol_without_match(sample):
    q, g, query, gallery = sample
    with pytest.raises(DataError, match="'cc' leaves none"):
        evaluate_features({"hq": q[:1]}, g[:1], query.take(slice(1)), gallery.take(slice(1)), protocols=["cc"])


def test_every_quality_and_protocol_is_scored(sample, evaluation):
    assert [(s.quality, s.protocol) for s in evaluation.scores] == [
        ("hq", "cc"),
        ("hq", "general"),
        ("lq", "cc"),
        ("lq", "general"),
    ]
    assert evaluation["hq", "cc"].metrics.mean_ap == metrics(rank(*sample, "cc")).mean_ap
    with pytest.raises(KeyError, match="hq/sc was not evaluated"):
        evaluation["hq", "sc"]


def test_dictionary_is_json_in_fractions(evaluation):
    tree = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    scores = tree["lq"]["cc"]
    assert 0 < scores["intervals_95"]["mAP"]["low"] <= scores["mAP"] <= scores["intervals_95"]["mAP"]["high"] < 1
    assert scores["cmc"][0] == scores["top1"]
    assert scores["queries"] + scores["queries_left_out"] == 40


def test_flat_names(evaluation):
    flat = evaluation.flat("test")
    score = evaluation["hq", "cc"]
    assert flat["test/hq/cc/mAP"] == score.metrics.mean_ap
    assert flat["test/lq/general/top1"] == evaluation["lq", "general"].metrics.top(1)
    assert flat["test/hq/cc/mAP_low"] == score.intervals["mAP"].low
    assert flat["test/hq/cc/mAP_high"] == score.intervals["mAP"].high
    assert all(type(v) is float for v in flat.values())


def test_rows_are_in_percent(evaluation):
    rows = [dict(zip(ROW_HEADER, row, strict=True)) for row in evaluation.as_rows()]
    score = evaluation["hq", "cc"]
    assert (rows[0]["quality"], rows[0]["protocol"]) == ("hq", "cc")
    assert rows[0]["mAP"].startswith(f"{100 * score.metrics.mean_ap:.1f} (")


def test_arrays_bring_the_evaluation_back(evaluation):
    buffer = io.BytesIO()
    np.savez(buffer, **evaluation.to_arrays())
    buffer.seek(0)
    back = from_arrays(np.load(buffer), bootstrap_samples=50, seed=1)
    assert back.to_dict() == evaluation.to_dict()


def test_arrays_that_are_missing_are_named(evaluation):
    arrays = evaluation.to_arrays()
    del arrays["hq/cc/inp_Q"]
    with pytest.raises(DataError, match="'hq/cc/inp_Q' is missing"):
        from_arrays(arrays, bootstrap_samples=0, seed=0)


def test_comparison_is_paired_by_quality_and_protocol(sample, evaluation):
    q, g, query, gallery = sample
    other = evaluate_features({"hq": q}, g[::-1].copy(), query, gallery, protocols=["cc"], bootstrap_samples=0)
    gains = compare(evaluation, other, bootstrap_samples=20)
    assert list(gains) == [("hq", "cc")]
    expected = other["hq", "cc"].metrics.mean_ap - evaluation["hq", "cc"].metrics.mean_ap
    assert gains["hq", "cc"]["mAP"].delta == pytest.approx(expected)
