"""One training: checked before a worker is asked for, written down, and its model kept for use elsewhere."""

from __future__ import annotations

import numpy as np

from pipelines.console import stderr, training
from pipelines.places import EXPERIMENT, Places
from pipelines.teacher_features import make_teacher_features
from pipelines.tracked import TrackedRun, log_set_up, tracked_run
from rlq_ray.config.load import fingerprint, to_dict
from rlq_ray.config.schema import ExperimentConfig, ModelConfig
from rlq_ray.data import Manifest, read_manifest
from rlq_ray.distributed.driver import Tracking, launch, plan_workers
from rlq_ray.distributed.runs import RunEntry, claim_name, find_run
from rlq_ray.errors import CheckpointError, DataError
from rlq_ray.storage import locate
from rlq_ray.train.checkpoint import read_card, read_network
from rlq_ray.train.export import InferenceModel
from rlq_ray.train.validation import check_test_curve


def train(
    config: ExperimentConfig,
    places: Places,
    *,
    name: str,
    resume: bool = False,
    experiment: str = EXPERIMENT,
    parent_run_id: str | None = None,
) -> RunEntry:
    """Train to the end on the connected Ray cluster, write the run down, and return its entry.

    Raises:
        UsageError, DataError, CheckpointError: the configuration, or what it names, cannot be used; nothing was begun.
        TrainingError: the training failed.
    """
    data_hashes = {role: manifest.content_hash for role, manifest in preflight(config).items()}
    plan_workers(config.workers)
    entry = claim_name(places.store, name, to_dict(config), resume=resume)
    with tracked_run(
        places.tracking_uri,
        experiment,
        name,
        parent_run_id=parent_run_id,
        run_id=entry.mlflow_run_id,
        tags={"rlq.kind": "training", "rlq.recipe": config.name},
    ) as run:
        if entry.mlflow_run_id is None:
            log_set_up(run.tracker, config, data_hashes)
        make_teacher_features(config, places)
        with training(name) as show:
            entry = launch(
                config,
                entry=entry,
                store=places.store,
                tracking=Tracking(places.tracking_uri, run.run_id),
                show=show,
                tell=lambda text: stderr.print(f"  {text}"),
            )
        _keep_model(run, config, entry)
    return entry


def train_once(
    config: ExperimentConfig, places: Places, *, experiment: str = EXPERIMENT, parent_run_id: str | None = None
) -> RunEntry:
    """Train, or go on with a training that was cut off, or take one that is finished: the same images and settings.

    Raises:
        DataError, CheckpointError, UsageError, TrainingError: see `train`.
    """
    hashes = [read_manifest(locate(uri)).content_hash for uri in (config.data.target, config.data.external) if uri]
    name = f"{config.name}-{fingerprint([to_dict(config), hashes])[:8]}"
    found = find_run(places.store, name)
    if found and found.state == "finished":
        stderr.print(f"  trained before: run {name}")
        return found
    return train(
        config, places, name=name, resume=found is not None, experiment=experiment, parent_run_id=parent_run_id
    )


def preflight(config: ExperimentConfig) -> dict[str, Manifest]:
    """Check what a configuration names, before a worker is asked for; return the manifests by role.

    Raises:
        DataError, CheckpointError: a data set or teacher is missing, or lacks what the model needs.
        UsageError: the data set lacks the test images that are to be measured.
    """
    manifests = check_data(config)
    if config.needs_teacher:
        assert config.teacher is not None
        _require_same_model("teacher", config.teacher, config.model)
    if config.initial_checkpoint:
        _require_same_model("start_from", config.initial_checkpoint, config.model)
    return manifests


def check_data(config: ExperimentConfig) -> dict[str, Manifest]:
    """Check the data sets that a configuration names; return their manifests by role.

    Raises:
        DataError, UsageError: see `preflight`.
    """
    manifests = {"target": read_manifest(locate(config.data.target))}
    if config.evaluate.test_curve:
        check_test_curve(manifests["target"])
    if config.model.pose_branch and manifests["target"].pose is None:
        raise DataError(
            f"model.pose_branch is on, but {config.data.target} has no pose clusters: "
            "ingest it with --keypoints or --poses, or set model.pose_branch=false"
        )
    if config.model.gender_head and manifests["target"].join_rates.gender is None:
        raise DataError(
            f"model.gender_head is on, but {config.data.target} has no genders: "
            "ingest it with --gender, or set model.gender_head=false"
        )
    if config.schedule.tad_steps:
        assert config.data.external is not None
        manifests["external"] = read_manifest(locate(config.data.external))
    return manifests


def _require_same_model(role: str, checkpoint: str, model: ModelConfig) -> None:
    theirs_all = read_card(locate(checkpoint)).config.model
    for field in ("backbone", "narrow_width", "single_branch", "input_height", "input_width"):
        theirs, ours = getattr(theirs_all, field), getattr(model, field)
        if theirs != ours and not (field == "narrow_width" and model.backbone != "narrow"):
            raise CheckpointError(
                f"the checkpoint {role}={checkpoint} has model.{field}={theirs}, the training {ours}: "
                "take the same, or another checkpoint"
            )


def _keep_model(run: TrackedRun, config: ExperimentConfig, entry: RunEntry) -> None:
    assert entry.checkpoint is not None
    network, card = read_network(locate(entry.checkpoint))
    shape = (2, 3, config.model.input_height, config.model.input_width)
    run.tracker.log_model(config.name, InferenceModel(network).eval(), np.full(shape, 0.5, np.float32), step=card.step)
    # The test curve stays out: "best" with a score on test beside it would read as chosen there.
    best = {
        f"best/{key}": value
        for key, value in entry.metrics.items()
        if key.startswith("validation/") and key.endswith(("/mAP", "/top1"))
    }
    run.tracker.log_metrics(best, step=card.epoch)
    run.tracker.set_tags({"rlq.checkpoint": entry.checkpoint, "rlq.best_epoch": str(entry.epoch)})
