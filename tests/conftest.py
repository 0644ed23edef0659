"""Real services for the tests that ask for them: one of each per session, on free ports, ended with the session."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # imported in the fixtures, so that unit tests do not wait for Ray
    from cluster.mlflow_server import MlflowServer
    from cluster.object_store import ObjectStore
    from cluster.ray_local import RaySession

# One thread per library: tests share small machines, where spinning threads stall one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MPLBACKEND", "agg")
for _name in ("RAY_ADDRESS", "RLQ_TRACKING_URI", "RLQ_STORAGE", "MLFLOW_TRACKING_URI"):
    os.environ.pop(_name, None)  # the tests are about what they start, not about what the user has running
os.environ["RLQ_STACK"] = "none"

WARNING_FILTERS = (
    "error",
    "default::ResourceWarning",  # raised wherever the collector happens to run, so often in another test
    "default::pytest.PytestUnraisableExceptionWarning",
    *(rf"ignore:::{package}\..*" for package in ("mlflow", "ray", "torch", "sqlalchemy", "alembic")),  # not our calls
    "ignore:The ``noload`` loader strategy is deprecated",  # MLflow's use of SQLAlchemy
)


def pytest_configure(config: pytest.Config) -> None:
    """Make errors of warnings, but for those that others have to mend."""
    for line in WARNING_FILTERS:
        config.addinivalue_line("filterwarnings", line)


@pytest.fixture(scope="session")
def service_folder() -> Iterator[Path]:
    """A folder with a short name, as Unix sockets need it."""
    folder = Path(tempfile.mkdtemp(prefix="rlq-t-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def s3_store(service_folder: Path) -> Iterator[ObjectStore]:
    """A real S3 server; `AWS_*` point at it for the rest of the session. `s3_store.uri` is its bucket."""
    from cluster.object_store import start_object_store

    store = start_object_store(service_folder / "s3")
    os.environ.update(store.environment)
    yield store
    for name in store.environment:
        os.environ.pop(name, None)
    store.stop(grace_s=0)


@pytest.fixture
def s3_uri(s3_store: ObjectStore, request: pytest.FixtureRequest) -> str:
    """A prefix of the bucket that no other test uses."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.nodeid.rpartition("::")[2])
    return f"{s3_store.uri}/{name}-{os.urandom(3).hex()}"


@pytest.fixture(scope="session")
def mlflow_server(service_folder: Path) -> Iterator[MlflowServer]:
    """A real MLflow server; `mlflow_server.uri` is its tracking URI."""
    from cluster.mlflow_server import start_mlflow_server

    folder = service_folder / "mlflow"
    folder.mkdir()
    server = start_mlflow_server(f"sqlite:///{folder / 'server.db'}", folder / "artifacts", folder / "server.log")
    yield server
    server.stop(grace_s=2)


@pytest.fixture(scope="session")
def ray_cluster(service_folder: Path, s3_store: ObjectStore, pytestconfig: pytest.Config) -> Iterator[RaySession]:
    """One Ray with four logical CPUs for all tests; its workers know `s3_store`, which is why that starts first."""
    from cluster.ray_local import session
    from tests.head_watch import watching_head

    folder = service_folder / "ray"
    with session(num_cpus=4, temp_dir=folder) as found, watching_head(folder / "session_latest/logs", pytestconfig):
        yield found


@dataclass(frozen=True)
class TinyPeople:
    """Rendered people of the preset `tiny`: folders in the LTCC layout, and the shards made of them, by role."""

    folders: dict[str, Path]
    shards: dict[str, str]


@pytest.fixture(scope="session")
def tiny_people(tmp_path_factory: pytest.TempPathFactory) -> TinyPeople:
    """The target and the external set in the smallest size, rendered and ingested in this process."""
    from rlq_ray.data import SideFiles, ingest
    from rlq_ray.people import PRESETS
    from rlq_ray.people.dataset import finish, write_part

    base = tmp_path_factory.mktemp("people")
    folders, shards = {}, {}
    for role in ("target", "external"):
        folder = base / role
        part = write_part(str(folder), PRESETS["tiny"], population=role, seed=0, part=0, num_parts=1)
        finish(str(folder), PRESETS["tiny"], [part])
        side_files = SideFiles(
            gender=folder / "gender.csv", keypoints=folder / "keypoints.json", masks=folder / "masks", pose_k=5
        )
        ingest(folder, "ltcc", base / "shards" / role, name=f"tiny-{role}", side_files=side_files)
        folders[role], shards[role] = folder, str(base / "shards" / role)
    return TinyPeople(folders, shards)


@pytest.fixture
def sweep_report() -> dict[str, Any]:
    """A sweep's report with trials in every state; trial 2 lacks the momentum, which only SGD has."""
    keys = ["schedule.tad_steps", "optimizer.learning_rate", "optimizer.name", "optimizer.momentum"]
    choices = [(2, 0.003, "sgd", 0.9), (1, 0.001, "sgd", 0.8), (2, 0.0004, "adam"), (4, 0.02, "sgd", 0.9)]
    choices += [(0, 0.1, "sgd", 0.95), (3, 0.002, "adam"), (1, 0.004, "adam"), (3, 0.005, "adam")]
    states = ["finished", "finished", "finished", "stopped early", "diverged", "failed", "running", "waiting"]
    reasons = {3: "below the median at CAP epoch 4", 4: "the loss is no longer finite", 5: "out of memory"}
    ranked = {1: (1, 0.312, 0.401), 0: (2, 0.3052, 0.42), 2: (3, 0.25, 0.39)}
    trials: list[dict[str, Any]] = []
    for number, (state, choice) in enumerate(zip(states, choices, strict=True)):
        values = dict(zip(keys, choice, strict=False))
        trial = {"number": number, "state": state, "reason": reasons.get(number, ""), "values": values, "trainings": []}
        if number in ranked:
            rank, lq, hq = ranked[number]
            trial |= {
                "rank": rank,
                "mean": [lq, hq],
                "lower": lq - 0.01,
                "intervals": [[lq - 0.011, lq + 0.011], [hq - 0.02, hq + 0.02]],
            }
            trial |= {"is_indistinguishable": rank < 3, "is_pareto": rank < 3}
        for seed in range(3 if number in ranked else 1 if state != "waiting" else 0):
            curve = [[epoch, 0.02 * epoch + 0.001 * seed] for epoch in ((4, 8, 12) if number in ranked else (4,))]
            trial["trainings"].append({"seed": seed, "state": state, "epoch": 12, "seconds": 312.0, "curve": curve})
        trials.append(trial)
    return {
        "name": "step-ratio",
        "title": "CAP : TAD step ratio",
        "state": "finished",
        "made": "2026-11-26 21:00 UTC",
        "commit": "c0ffee",
        "hardware": "2 CPU cores",
        "objectives": [
            {"metric": "validation/lq/cc/mAP", "label": "LQ cc mAP"},
            {"metric": "validation/hq/cc/mAP", "label": "HQ cc mAP"},
        ],
        "search": "tpe",
        "scheduler": "asha",
        "seeds": [0, 1, 2],
        "confidence": 0.95,
        "keys": keys,
        "log_keys": ["optimizer.learning_rate"],
        "trials": trials,
        "deviation": 0.009,
        "importance": {"schedule.tad_steps": 0.7, "optimizer.learning_rate": 0.3},
        "gradient_conflict": [[0, 0.12], [1, -0.03], [2, 0.05]],
        "conclusion": ["Two TAD steps to a CAP step are no worse than one."],
        "winner": {"number": 1, "recipe": 'extends = "rlq.toml"\n\n[schedule]\ntad_steps = 1\n'},
        "counts": {"finished": 3, "stopped early": 1, "diverged": 1, "failed": 1, "running": 1, "waiting": 1},
        "trained_seconds": 5321.0,
        "skipped_seconds": 1200.0,
    }


@pytest.fixture
def run_report() -> Any:
    """A finished run's report with something of every kind: two phases, scores, diagnostics, artefacts, changes."""
    from pipelines.recipe import read_experiment
    from pipelines.run_report.values import Change, RunReport, Score
    from rlq_ray.config.load import to_dict

    sources = ["data.target=/data/ltcc", "data.external=/data/celeb", "teacher=/runs/teacher"]
    epochs, steps = (10, 20, 30), range(0, 60, 2)
    scores = {"mAP": 0.312, "top1": 0.41, "mINP": 0.1, "chance_mAP": 0.03, "queries": 420.0}
    qualities = ["hq", "lq", "motion-mild", "motion-severe"]
    return RunReport(
        name="rlq-ltcc",
        state="finished",
        reason="",
        facts=[("recipe", "rlq"), ("CAP epochs", "30 of 30"), ("commit", "c0ffee")],
        config=to_dict(read_experiment("rlq", sources)),
        recipe="rlq",
        changes=[Change("train.epochs", "200", "30"), Change("train.steps_per_epoch", None, "10")],
        is_tracked=True,
        best_epoch=20,
        losses={
            "cap": {
                name: [(step, 9 - step / 10) for step in steps] for name in ("loss", "identity", "identity_clothes")
            },
            "tad": {name: [(step + 1, 4 - step / 30) for step in steps] for name in ("loss", "feature_lq")},
        },
        learning_rate=[(step, 3e-4 if step < 30 else 3e-5) for step in range(60)],
        course={"images per second": [(step, 500.0 + step) for step in steps]},
        scores={
            (quality, protocol, metric): [(epoch, epoch / 100) for epoch in epochs]
            for quality in ("hq", "lq")
            for protocol in ("cc", "sc")
            for metric in ("mAP", "top1")
        },
        diagnostics={
            name: [(epoch, 0.3) for epoch in epochs]
            for name in ("gradient_cosine", "gradient_norm_ratio", "lq_neighbour_share", "lq_neighbour_share_chance")
        },
        validation=[Score(quality, protocol, scores, {}) for protocol in ("cc", "sc") for quality in ("hq", "lq")],
        test=[Score(quality, "cc", scores, {"mAP": (0.28, 0.34)}) for quality in qualities],
    )
