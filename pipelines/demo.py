"""The main job on rendered people, end to end; a second call reuses whatever is whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from cluster.ray_local import session
from pipelines.console import stage
from pipelines.evaluate import TestFeatures, as_json, differences_text, embed_test, evaluate
from pipelines.people_data import ROLES, PeopleData
from pipelines.pictures import (
    cmc_figure,
    data_sheet,
    degradation_sheet,
    results_figure,
    retrieval_sheet,
    training_figures,
)
from pipelines.places import Places
from pipelines.recipe import read_experiment
from pipelines.teacher import find_or_train_teacher
from pipelines.tracked import TrackedRun, earlier_run, log_set_up, tracked_run
from pipelines.train import train_once
from rlq_ray.config.load import fingerprint
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.data import DataSet, read_manifest
from rlq_ray.distributed.runs import RunEntry
from rlq_ray.evaluate import Evaluation
from rlq_ray.storage import locate, write_json

EXPERIMENT = "rlq-demo"


@dataclass(frozen=True)
class DemoSize:
    """Which people are rendered, into how many pose clusters they fall, and which recipes train on them."""

    preset: str
    pose_clusters: int
    teacher: str
    base: str
    rlq: str


SIZES = {
    "small": DemoSize("small", 15, "demo_teacher", "demo_base", "demo_rlq"),
    "tiny": DemoSize("tiny", 5, "tiny_base", "tiny_base", "tiny_rlq"),
}


@dataclass(frozen=True)
class DemoResult:
    """What the demo ends with: scores by model, what RLQ gains, and where the pictures lie."""

    evaluations: dict[str, Evaluation]
    gains: list[str]
    pictures: Path
    parent_run_id: str


@dataclass(frozen=True)
class _Demo:
    """One call of the demo: its places and what its parts share."""

    out: Path
    places: Places
    size: DemoSize
    seed: int
    overrides: list[str]

    @property
    def people(self) -> PeopleData:
        return PeopleData(self.out, self.places.store, self.size.preset, self.seed, self.size.pose_clusters)

    def experiment(self, recipe: str, *settings: str) -> ExperimentConfig:
        return read_experiment(recipe, [*settings, *self.overrides])


def run_demo(out: Path, places: Places, *, size: DemoSize, seed: int = 0, overrides: list[str]) -> DemoResult:
    """Render, ingest, train teacher, RLQ and base model, evaluate, and write everything down.

    Args:
        out: for images and pictures.
        places: of shards, runs and tracking.
        size: of the demo.
        seed: of people and trainings.
        overrides: `section.key=value` for all three trainings.
    """
    demo = _Demo(out, places, size, seed, overrides)
    with session(places.ray_address):
        with stage("1 of 7 · render people: a target and a separate external set"):
            demo.people.render()
        with stage("2 of 7 · ingest images, genders, masks and keypoints into Arrow shards"):
            demo.people.ingest()
        name = "-".join([f"demo-{size.preset}-seed-{seed}", *([fingerprint(overrides)[:8]] if overrides else [])])
        with tracked_run(
            places.tracking_uri,
            EXPERIMENT,
            name,
            run_id=earlier_run(places.tracking_uri, EXPERIMENT, name),
            tags={"rlq.kind": "demo"},
        ) as parent:
            return _train_and_evaluate(demo, parent)


def _train_and_evaluate(demo: _Demo, parent: TrackedRun) -> DemoResult:
    target, external = (f"data.target={demo.people.shards(role)}" for role in ROLES)
    with stage("3 of 7 · teacher: the base model on the external set"):
        teacher = find_or_train_teacher(
            demo.experiment(demo.size.teacher, external),
            demo.places,
            experiment=EXPERIMENT,
            parent_run_id=parent.run_id,
        )
    sources = (target, f"data.external={demo.people.shards('external')}", f"teacher={teacher}", f"seed={demo.seed}")
    configs = {
        "rlq": demo.experiment(demo.size.rlq, *sources),
        "base": demo.experiment(demo.size.base, target, f"seed={demo.seed}"),
    }
    with stage(f"4 of 7 · RLQ: CAP and TAD steps in turn on {configs['rlq'].workers.count} workers"):
        rlq = train_once(configs["rlq"], demo.places, experiment=EXPERIMENT, parent_run_id=parent.run_id)
    with stage("5 of 7 · base model: as many target images, for comparison"):
        base = train_once(configs["base"], demo.places, experiment=EXPERIMENT, parent_run_id=parent.run_id)
    entries = {"base": base, "rlq": rlq}
    with stage("6 of 7 · evaluation on the test identities"):
        config = configs["rlq"]
        checkpoints = {name: str(entry.checkpoint) for name, entry in entries.items()}
        features = embed_test(checkpoints, demo.people.shards("target"), config, config.evaluate.qualities)
        evaluations = {name: evaluate(own, config) for name, own in features.items()}
        gains = differences_text(evaluations["base"], evaluations["rlq"], config)
    with stage("7 of 7 · pictures and records"):
        pictures = _record_parent(demo, parent, config, features, evaluations, gains)
        for name, entry in entries.items():
            _record_child(demo, parent, entry, evaluations[name], name)
    return DemoResult(evaluations, gains, pictures, parent.run_id)


def _record_parent(
    demo: _Demo,
    parent: TrackedRun,
    config: ExperimentConfig,
    features: Mapping[str, TestFeatures],
    evaluations: Mapping[str, Evaluation],
    gains: list[str],
) -> Path:
    dataset = DataSet.open(demo.people.shards("target"))
    folder = demo.out / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, Figure | Image.Image] = {
        "data": data_sheet(dataset, config.data, split="train", title="Rendered people: the target set"),
        "low_quality": degradation_sheet(dataset, config),
        "results": results_figure(
            evaluations,
            title="RLQ against its base model on rendered people",
            subtitle="whiskers: 95 % intervals by bootstrap over the test identities",
        ),
        "cmc": cmc_figure(evaluations, "CMC on the test identities"),
        "retrieval": retrieval_sheet(dataset, config, features),
    }
    for name, picture in pictures.items():
        if isinstance(picture, Figure):
            picture.savefig(folder / f"{name}.png", dpi=120)
        else:
            picture.save(folder / f"{name}.png")
        parent.tracker.log_file(folder / f"{name}.png", "pictures")
    hashes: dict[str, str] = {role: read_manifest(locate(demo.people.shards(role))).content_hash for role in ROLES}
    if not parent.store.run(parent.run_id).params:
        log_set_up(parent.tracker, config, hashes)
    parent.tracker.log_json("evaluation.json", as_json(evaluations))
    parent.tracker.log_text("gains.txt", "\n".join(gains) + "\n")
    parent.tracker.log_metrics({k: v for name, own in evaluations.items() for k, v in own.flat(name).items()}, step=0)
    write_json(locate(demo.out / "evaluation.json"), as_json(evaluations))
    return folder


def _record_child(demo: _Demo, parent: TrackedRun, entry: RunEntry, evaluation: Evaluation, name: str) -> None:
    """Add to a training's run what was measured after it; one that another tracking store holds gets a new run here."""
    assert entry.epoch is not None
    known = {run.run_id for run in parent.store.find_runs(parent.experiment_id, entry.name)}
    run_id = entry.mlflow_run_id if entry.mlflow_run_id in known else None
    with tracked_run(
        demo.places.tracking_uri, EXPERIMENT, entry.name, run_id=run_id, parent_run_id=parent.run_id
    ) as run:
        run.tracker.log_metrics(evaluation.flat("test"), step=entry.epoch)
        run.tracker.log_json("evaluation.json", evaluation.to_dict())
        if run_id is None:
            return
        for title, figure in training_figures(run.store, run.run_id, entry.name, entry.epoch).items():
            figure.savefig(demo.out / "pictures" / f"{title}_{name}.png", dpi=120)
            run.tracker.log_figure(f"pictures/{title}.png", figure)
