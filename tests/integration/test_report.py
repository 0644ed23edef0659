"""A report by its name: read from a real tracking store, and one clear line where there is nothing to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.places import Places
from pipelines.recipe import read_experiment
from pipelines.report import write_report
from pipelines.run_report.read import read_run
from rlq_ray.config.load import to_dict
from rlq_ray.distributed.runs import RunEntry, keep_run
from rlq_ray.errors import TrackingError, UsageError
from rlq_ray.storage import locate, write_json
from rlq_ray.tracking.mlflow_tracker import MlflowStore

CONFIG = to_dict(read_experiment("tiny_base", ["data.target=/t"]))


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(locate(tmp_path / "store"), f"sqlite:///{tmp_path / 'none.db'}", None)


def keep(places: Places, *names: str, **more: object) -> None:
    for name in names:
        keep_run(places.store, RunEntry(name, "running", CONFIG, **more))  # type: ignore[arg-type]


def keep_sweep(places: Places, name: str) -> None:
    write_json(places.store / "sweeps" / name / "sweep.json", {})


def test_reads_curves_of_a_run_that_goes_on(tracking_uri: str) -> None:
    store = MlflowStore(tracking_uri)
    run_id = store.create_run(store.ensure_experiment("reports"), "one", tags={"rlq.recipe": "tiny-base"})
    tracker = store.attach(run_id)
    tracker.set_tags({"git.commit": "c0ffee", "git.dirty": "True", "data.target.hash": "0123456789abcdef"})
    for step, loss in enumerate((4.0, 3.0, 2.0)):
        tracker.log_metrics({"cap/loss": loss, "cap/identity": loss / 2, "learning_rate": 1e-3}, step=step)
    tracker.log_metrics({"cap/loss": 2.5}, step=2)  # a resumed run repeats a step
    for epoch, (score, is_best) in enumerate(((0.2, 1.0), (0.4, 1.0), (0.3, 0.0)), 1):
        scores = {"validation/hq/cc/mAP": score, "validation/hq/cc/top5": 0.9, "diagnostics/gradient_cosine": 0.1}
        tracker.log_metrics({**scores, "validation/is_best": is_best}, step=epoch)
    tracker.detach()
    report = read_run(RunEntry("one", "running", CONFIG, run_id), tracking_uri)
    assert report.losses == {
        "cap": {"loss": [(0, 4.0), (1, 3.0), (2, 2.5)], "identity": [(0, 2.0), (1, 1.5), (2, 1.0)]}
    }
    assert report.best_epoch == 2
    assert report.scores == {("hq", "cc", "mAP"): [(1, 0.2), (2, 0.4), (3, 0.3)]}
    assert [score.values for score in report.validation] == [{"mAP": 0.4}]
    assert report.diagnostics == {"gradient_cosine": [(1, 0.1), (2, 0.1), (3, 0.1)]}
    facts = dict(report.facts)
    assert facts["commit"] == "c0ffee and changes"
    assert facts["CAP epochs"] == "3 of 2"
    assert facts["target data"].endswith("/t (0123456789ab)")
    assert report.changes == []


def test_a_tracking_store_that_is_away_is_named_and_none_is_made(places: Places, tmp_path: Path) -> None:
    keep(places, "one", mlflow_run_id="f" * 32)
    with pytest.raises(TrackingError, match=r"curves of 'one' .*/none\.db does not exist: .*--tracking-uri"):
        write_report("one", places, tmp_path / "r.html")
    nobody = Places(places.store, "http://127.0.0.1:9", None)
    with pytest.raises(TrackingError, match=r"no tracking server answers at http://127\.0\.0\.1:9"):
        write_report("one", nobody, tmp_path / "r.html")
    assert not (tmp_path / "none.db").exists()
    assert not (tmp_path / "r.html").exists()


def test_a_run_that_the_tracking_store_does_not_know_is_told(places: Places, sqlite_uri: str, tmp_path: Path) -> None:
    MlflowStore(sqlite_uri)
    keep(places, "one", mlflow_run_id="f" * 32)
    with pytest.raises(TrackingError, match=r"gives nothing of 'one' .*: name the tracking store of 'one'"):
        write_report("one", Places(places.store, sqlite_uri, None), tmp_path / "r.html")


def test_a_name_that_is_nothing_is_told_with_the_nearest_there_are(places: Places, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no run or sweep 'rlq-lttc' in .*, there are none yet: check the name"):
        write_report("rlq-lttc", places, tmp_path / "r.html")
    keep(places, *(f"other-{number}" for number in range(20)), "rlq-ltcc")
    keep_sweep(places, "step-ratio")
    with pytest.raises(UsageError, match=r"there are runs rlq-ltcc, .* and 13 more; sweeps step-ratio: check"):
        write_report("rlq-lttc", places, tmp_path / "r.html")


def test_a_name_of_both_asks_which(places: Places, tmp_path: Path) -> None:
    keep(places, "both")
    keep_sweep(places, "both")
    with pytest.raises(UsageError, match=r"'both' is a run and a sweep in .*--kind run or --kind sweep"):
        write_report("both", places, tmp_path / "r.html")
    assert write_report("both", places, tmp_path / "r.html", kind="run") == "run"
    assert "It was not tracked" in (tmp_path / "r.html").read_text()
