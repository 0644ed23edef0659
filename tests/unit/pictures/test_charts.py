import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from rlq_ray.pictures import Result, cmc_curves, evaluation_curves, loss_curves, results_chart
from rlq_ray.pictures.style import colours
from rlq_ray.pictures.training import smoothed

STEPS = np.arange(40)


def drawn(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    return np.asarray(Image.open(buffer).convert("RGB"))


def panels(figure):
    return [axes for axes in figure.get_axes() if axes.axison]


def test_every_chart_draws_without_touching_the_global_state():
    charts = [
        loss_curves({"CAP": {"identity": (STEPS, 1 / (STEPS + 1))}}, learning_rate=(STEPS, np.full(40, 1e-3))),
        evaluation_curves({("hq", "cc", "mAP"): ([0, 10], [0.1, 0.3])}, best_epoch=10),
        cmc_curves({"cc": {("base", "hq"): np.linspace(0.4, 1, 50)}}),
        results_chart([Result("base", "hq", "cc", "mAP", 0.2, 0.1, 0.3)], chance={("cc", "mAP"): 0.02}),
    ]
    for figure in charts:
        assert drawn(figure).std() > 1
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("chart", "nothing"),
    [(loss_curves, {}), (loss_curves, {"CAP": {}}), (evaluation_curves, {}), (cmc_curves, {}), (results_chart, [])],
)
def test_refuses_nothing(chart, nothing):
    with pytest.raises(ValueError, match="no"):
        chart(nothing)


def test_smoothing_by_hand():
    assert smoothed([1, 2, 6, 3], share=0.5).tolist() == [1.5, 3, 11 / 3, 4.5]
    np.testing.assert_array_equal(smoothed([np.nan, 2, 4, 6], share=0.5), [np.nan, 3, 4, 5])
    assert smoothed([3.0]).tolist() == [3.0]


def test_a_panel_per_loss_term_and_one_for_the_rate():
    terms = {name: (STEPS, np.ones(40)) for name in ("identity", "identity_clothes", "pose", "gender", "triplet")}
    history = {"CAP": terms, "TAD": {"feature_hq": (STEPS, np.ones(40))}}
    titles = [axes.get_title(loc="left") for axes in panels(loss_curves(history, learning_rate=(STEPS, STEPS + 1)))]
    assert titles == ["identity", "identity clothes", "pose", "gender", "triplet", "feature hq", "learning rate"]


def test_a_term_without_any_value_yet_is_drawn_empty():
    assert drawn(loss_curves({"CAP": {"clothes_adversarial": (STEPS, np.full(40, np.nan))}})).size


def test_scores_of_one_panel_are_told_apart_by_line():
    history = {(q, "cc", "mAP"): ([0, 10], [0.1, v]) for q, v in (("hq", 0.4), ("lq", 0.2))}
    (axes,) = panels(evaluation_curves(history))
    hq, lq = axes.get_lines()
    assert (hq.get_linestyle(), lq.get_linestyle()) == ("-", "--")
    assert hq.get_ydata().tolist() == [0.1, 0.4]


def test_cmc_curves_are_cut_and_keep_model_colours():
    panel = {(m, q): np.linspace(0.4, 1, 50) for m in ("base", "RLQ") for q in ("hq", "lq")}
    figure = cmc_curves({"cc": panel, "sc": panel}, ranks=10)
    lines = [line for line in panels(figure)[0].get_lines() if len(line.get_xdata()) > 1]
    assert [line.get_xdata().tolist() for line in lines] == [list(range(1, 11))] * 4
    assert lines[0].get_color() == lines[1].get_color() != lines[2].get_color()
    assert [line.get_linestyle() for line in lines] == ["-", "--", "-", "--"]


def test_bars_have_the_height_of_their_value_and_the_whiskers_of_their_interval():
    results = [Result(m, "hq", "cc", "mAP", v, v - 0.05, v + 0.04) for m, v in (("base", 0.2), ("RLQ", 0.3))]
    (axes,) = panels(results_chart(results))
    assert [bar.get_height() for bar in axes.patches] == [0.2, 0.3]
    spans = [sorted(line.get_ydata()) for line in axes.get_lines() if len(set(line.get_ydata())) == 2]
    np.testing.assert_allclose(spans, [[0.15, 0.24], [0.25, 0.34]])
    assert [text.get_text() for text in axes.texts] == ["20.0", "30.0"]


def test_colours_follow_the_order_of_names():
    assert list(colours(["base", "RLQ", "base"])) == ["base", "RLQ"]
    assert len(set(colours([str(i) for i in range(7)]).values())) == 7


def test_a_chart_is_as_wide_as_its_title():
    def width(title):
        return results_chart([Result("base", "hq", "cc", "mAP", 0.2)], title=title).get_figwidth()

    assert width("a long title " * 10) > width("short")


def test_no_bar_leaves_its_row() -> None:
    """Panels of a row share their scale, which the highest whisker of any of them sets."""
    results = [
        Result("base", "hq", protocol, metric, value, value - 0.1, value + 0.1)
        for metric in ("top1", "mAP")
        for protocol, value in (("general", 0.3), ("cc", 0.2), ("sc", 0.8))
    ]
    for axes in results_chart(results).axes:
        assert axes.get_ylim()[1] > 0.9
