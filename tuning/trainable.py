"""What Tune runs in its actors, one training after another: the trainings that the book asks for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from ray import tune

from rlq_ray.build_stamp import require_package
from rlq_ray.config.load import build_config, merge, nested, to_dict
from rlq_ray.distributed.trial_task import Evaluated, TrialEnd, TrialTask
from rlq_ray.errors import PackageError, TrainingError, UsageError

EVALUATED, END = "evaluated", "end"
"""Keys of what a training tells Tune, each with one JSON text, since Tune takes nested values apart."""
ACTOR_PATIENCE_S = 60
"""How long an actor waits for the thread of a stopped training before it is thrown away instead of used again."""


@dataclass(frozen=True)
class Common:
    """What all trainings of a sweep share.

    That is settings in plain values, the store, the tracking store, the names of the metrics that the book reads,
    whether each has a GPU, and the hash of the code that each must run, if it is a job's.
    """

    settings: dict[str, Any]
    store: str
    tracking_uri: str | None
    reported: tuple[str, ...]
    on_gpu: bool
    package: str | None = None

    def task(self, changes: dict[str, Any], seed: int, own: dict[str, Any]) -> TrialTask:
        """Make the task of a training, given the dotted settings that it changes, its seed, and what is its own.

        Raises:
            UsageError: they contradict each other.
        """
        changed = {**nested(changes), "seed": seed, "name": own["run"]}
        settings = to_dict(build_config(merge(self.settings, changed)))
        return TrialTask(
            settings=settings,
            store=self.store,
            tracking_uri=self.tracking_uri,
            on_gpu=self.on_gpu,
            **own,
        )


Train = Callable[[TrialTask, Callable[[Evaluated], None]], TrialEnd]
"""Trains a task, and reports after every evaluation."""


def train_in_actor(config: dict[str, Any], common: Common, train: Train) -> dict[str, Any]:
    """Train one configuration with one seed, in an actor of Tune's, to which results go by `tune.report`."""
    os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = str(ACTOR_PATIENCE_S)

    def report(evaluated: Evaluated) -> None:
        metrics = {name: value for name, value in evaluated.metrics.items() if name in common.reported}
        tune.report({EVALUATED: json.dumps(asdict(replace(evaluated, metrics=metrics)))})

    try:
        require_package(common.package)
        task = common.task(**config)
    except (UsageError, PackageError) as error:
        end = TrialEnd("failed", str(error))
    else:
        end = train(task, report)
    return {END: json.dumps(asdict(end))}


class _WaitsOrFails:
    """Lets Tune know of an actor that cannot be used again by an error.

    By the word False it would end the next training, and tell neither search nor scheduler.
    """

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Make the actor ready for the next training.

        Raises:
            TrainingError: the thread of the stopped one does not end.
        """
        if not super().reset_config(new_config):  # type: ignore[misc]
            raise TrainingError("the actor's last training was stopped and does not end")
        return True


# A hook of Tune's for functions, which its documentation leaves out: what goes before the class that it makes of one.
train_in_actor.__mixins__ = (_WaitsOrFails,)  # type: ignore[attr-defined]
