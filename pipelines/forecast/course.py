"""A dry run: what a recipe or a sweep names is checked, a few steps are taken on the cluster, and nothing is kept."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster.ray_local import session
from pipelines.console import stage, stderr
from pipelines.forecast.place import memory_remarks
from pipelines.forecast.sweep import SweepCost, least_share
from pipelines.forecast.training import Range, TrainingCost
from pipelines.people_data import PeopleData
from pipelines.places import Places
from pipelines.recipe import RECIPES, read_experiment
from pipelines.study import given_data, refuse_own
from pipelines.sweep.file import OWN, SWEEPS, SweepFile, read_sweep_file
from pipelines.sweep.plan import free_bytes, most_checkpoints, most_trainings
from pipelines.teacher import teacher_name
from pipelines.train import check_data, preflight
from rlq_ray.config.load import read_settings
from rlq_ray.config.schema import ExperimentConfig
from rlq_ray.distributed.driver import describe_nodes
from rlq_ray.distributed.rehearsing import rehearse_on_cluster
from rlq_ray.distributed.runs import find_run
from rlq_ray.errors import UsageError
from rlq_ray.storage import locate
from tuning.proposals import Proposals
from tuning.room import at_a_time, needs

Forecast = dict[str, Any]
"""Plain values: seconds and bytes, a range as its two ends."""

TOGETHER = 4
"""Trainings of a sweep that are rehearsed at a time at most, as they get into each other's way."""
SAMPLED = 64
"""Configurations of a sweep whose steps are counted."""
UNSEEN = ("model.", "batch.", "data.", "augment.", "degrade.")
"""Settings that change what a step takes, beside how many there are."""


def forecast(source: str, overrides: Sequence[str], places: Places) -> Forecast:
    """Tell what a recipe's training, or a sweep, will take; nothing is written to store or tracker.

    Raises:
        UsageError, DataError, CheckpointError: it cannot be begun like this, or the cluster cannot place it.
        ServiceError: the cluster's room is taken.
        TrainingError: it cannot be trained, as a few steps have shown.
    """
    return _of_sweep(source, overrides, places) if _is_sweep(source) else _of_recipe(source, overrides, places)


def _is_sweep(source: str) -> bool:
    if (RECIPES / f"{source}.toml").exists():
        return False
    if (SWEEPS / f"{source}.toml").exists():
        return True
    if Path(source).suffix == ".toml" and Path(source).exists():
        return "space" in read_settings(Path(source))
    recipes, sweeps = (", ".join(sorted(file.stem for file in folder.glob("*.toml"))) for folder in (RECIPES, SWEEPS))
    raise UsageError(
        f"there is no recipe or sweep '{source}': give the path of a .toml file, one of the recipes {recipes}, or one "
        f"of the sweeps {sweeps}"
    )


def _of_recipe(source: str, overrides: Sequence[str], places: Places) -> Forecast:
    config = read_experiment(source, list(overrides))
    preflight(config)
    with session(places.ray_address):
        need = needs(config.workers)
        with stage(f"a few steps of {config.name}, on {need}"):
            cost = TrainingCost.of(rehearse_on_cluster(config))
        return {
            "kind": "recipe",
            "name": config.name,
            **_of_training(cost, config),
            "seconds": cost.whole_s(config),
            "cluster": describe_nodes(),
            "workers": str(need),
            "at_a_time": 1,
            **_space(cost.checkpoint_bytes, config.workers.checkpoints_to_keep + 2, places),
            "remarks": memory_remarks(cost, need, 1),
        }


def _of_training(cost: TrainingCost, config: ExperimentConfig) -> Forecast:
    counts = cost.counts(config)
    return {
        "steps": {
            name: {"count": counts[name], "seconds": own.seconds, "images": own.images, "tried": own.counted}
            for name, own in cost.steps.items()
        },
        "epochs": config.train.epochs,
        "evaluation_seconds": cost.evaluation_s,
        "start_seconds": cost.begin_s.plus(cost.build_s),
        "images": cost.images(config),
        "memory_bytes": cost.memory_bytes,
        "gpu_bytes": cost.gpu_bytes,
        "read_bytes": cost.read_bytes,
        "read_first_epoch_bytes": cost.read_first_epoch_bytes,
    }


def _space(each: int, checkpoints: int, places: Places) -> Forecast:
    return {"checkpoint_bytes": each, "checkpoints": checkpoints, "free_bytes": free_bytes(places.store)}


@dataclass(frozen=True)
class _Sources:
    """What a sweep's trainings would learn from: settings that name it, and the teacher's training if it is to come."""

    overrides: list[str]
    teacher: ExperimentConfig | None
    made_s: float


def _of_sweep(source: str, overrides: Sequence[str], places: Places) -> Forecast:
    file = read_sweep_file(source).with_whole_paths()
    refuse_own(file, overrides, OWN)
    file.check(overrides)
    given = given_data(file, overrides, file.recipe) if file.preset is None else None
    with session(places.ray_address), _sources(file, overrides, places, given) as sources:
        configs = _configurations(file, [*sources.overrides, *overrides])
        config = max(configs, key=lambda own: own.schedule.tad_steps > 0)
        (check_data if sources.teacher else preflight)(config)
        need = needs(config.workers)
        concurrent = at_a_time(need, file.budget.concurrent)
        with stage(f"a few steps of {min(concurrent, TOGETHER)} trainings at a time, each on {need}"):
            measured = rehearse_on_cluster(config, teacher=sources.teacher, trainings=min(concurrent, TOGETHER))
        cost = TrainingCost.of(measured)
        taught = TrainingCost.of(measured, is_teacher=True) if sources.teacher else None
        whole = _sweep_cost(file, configs, cost, concurrent)
        teacher_s = taught.whole_s(sources.teacher) if taught and sources.teacher else Range(0, 0)
        made_s = Range.around(sources.made_s, (0.8, 1.5))
        each = [cost.course_s(own).plus(cost.build_s) for own in configs]
        return {
            "kind": "sweep",
            "name": file.name,
            **_of_training(cost, config),
            "trainings": whole.rounds,
            "configurations": len(configs),
            "training_seconds": Range(min(own.low for own in each), max(own.high for own in each)),
            "data_seconds": made_s if sources.made_s else None,
            "teacher_seconds": teacher_s if taught else None,
            "seconds": whole.seconds(file.budget).plus(teacher_s, made_s),
            "stopping": file.stopping.kind if file.search.kind != "pbt" else "none",
            "cluster": describe_nodes(),
            "workers": str(need),
            "at_a_time": concurrent,
            **_space(cost.checkpoint_bytes, most_checkpoints(file, config.train.epochs, concurrent), places),
            "remarks": memory_remarks(cost, need, concurrent) + _unseen(file),
        }


def _configurations(file: SweepFile, overrides: Sequence[str]) -> list[ExperimentConfig]:
    """List the first configurations that the sweep would propose."""
    proposals = Proposals(file.space, file.search, len(file.objectives), file.budget.trials)
    numbers = range(min(file.budget.trials, SAMPLED, proposals.most))
    return [file.config(proposals.propose(number), overrides) for number in numbers]


def _sweep_cost(file: SweepFile, configs: Sequence[ExperimentConfig], cost: TrainingCost, concurrent: int) -> SweepCost:
    courses = [cost.course_s(config) for config in configs]
    epochs = configs[0].train.epochs
    part = min(1.0, file.search.generation_epochs / epochs) if file.search.kind == "pbt" else 1.0
    mean = Range(sum(own.low for own in courses), sum(own.high for own in courses)).times(part / len(courses))
    return SweepCost(
        rounds=most_trainings(file, epochs),
        at_a_time=concurrent,
        begin_s=cost.begin_s,
        build_s=cost.build_s,
        course_s=mean,
        images=part * sum(cost.images(config) for config in configs) / len(configs),
        kept_share=1.0 if file.search.kind == "pbt" else least_share(file.stopping, epochs),
    )


@contextlib.contextmanager
def _sources(
    file: SweepFile, overrides: Sequence[str], places: Places, given: tuple[str, str] | None
) -> Iterator[_Sources]:
    """Find what the sweep would make, or make it aside: people are rendered into a folder that is deleted again."""
    with tempfile.TemporaryDirectory(prefix="rlq-plan-") as aside:
        made_s = 0.0
        if given is not None:
            target, external = given
        else:
            assert file.preset is not None
            people = PeopleData(Path(aside), places.store, file.preset, file.data_seed, file.pose_clusters)
            if not people.is_ingested():
                people = replace(people, store=locate(aside))
                began_s = time.monotonic()
                with stage(f"render people: {file.preset}, aside, as the store does not have them yet"):
                    people.render()
                    people.ingest()
                made_s = time.monotonic() - began_s
            target, external = people.shards("target"), people.shards("external")
        data = [f"data.target={target}", f"data.external={external}"]
        teacher = file.teacher_config(external, overrides)
        found = find_run(places.store, teacher_name(teacher))
        if found and found.checkpoint:
            yield _Sources([*data, f"teacher={found.checkpoint}"], None, made_s)
            return
        stderr.print("  the teacher is to be trained first")
        yield _Sources([*data, "teacher=to-come"], teacher, made_s)


def _unseen(file: SweepFile) -> list[str]:
    settings = itertools.chain.from_iterable(
        ({key for named in domain.named.values() for key in named} or {key}) for key, domain in file.space.items()
    )
    unseen = sorted({key for key in settings if key.startswith(UNSEEN)})
    if not unseen:
        return []
    return [f"what a step takes depends on {', '.join(unseen)}, of which one value was tried: others may take more"]
